"""The log that goes on from one store's part of a base: of the tenant alone, or of its database and all tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.slot import SlotLog
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.moments.doubts import Doubts
from tenant_lifecycle.model.backup.items import Frame

#: Opens the log of all tenants of a line.
SlotOf = Callable[[Line], SlotLog]


class LineLog(Protocol):
    """One line, as one tenant sees it; its coverage is read once."""

    line: Line

    def coverage(self) -> Sequence[tuple[Stretch, str]]:
        """In order; with a reason: not covered, and why."""

    def frames(self, from_position: int, through_us: int | None) -> Iterator[Frame]:
        """From there on, at least up to the first that is behind ``through_us``."""

    def doubts(self) -> Doubts:
        """What is not exact in it; only what may say something of it is decrypted."""


class OwnLine:
    """A line of the tenant alone."""

    def __init__(self, log: TenantLog, line: Line) -> None:
        self.line = line
        self._log = log

    def coverage(self) -> Sequence[tuple[Stretch, str]]:
        return self._coverage

    @cached_property
    def _coverage(self) -> list[tuple[Stretch, str]]:
        return [(stretch, "") for stretch in self._log.coverage(self.line)]

    def frames(self, from_position: int, through_us: int | None) -> Iterator[Frame]:
        return self._log.frames(self.line, from_position, through_us)

    def doubts(self) -> Doubts:
        doubts = Doubts()
        _from_segments(doubts, self._log, self.line)
        return doubts


class SharedLine:
    """What the log of all tenants has of one."""

    def __init__(self, log: TenantLog, slot: SlotLog) -> None:
        self.line = slot.line
        self._log = log
        self._slot = slot

    def coverage(self) -> Sequence[tuple[Stretch, str]]:
        return self._coverage

    @cached_property
    def _coverage(self) -> list[tuple[Stretch, str]]:
        return self._slot.coverage(self._log.directory.path)

    def frames(self, from_position: int, through_us: int | None) -> Iterator[Frame]:
        return self._slot.frames(self._log, from_position, through_us)

    def doubts(self) -> Doubts:
        doubts = Doubts()
        _from_segments(doubts, self._log, self.line)
        head = self._log.head(self.line)
        through = -1 if head is None else head.stretch.through
        for ledger in self._slot.ledgers():
            part = ledger.parts.get(self._log.directory.path)
            if part is None or not part.length or part.content.last <= through:
                continue
            if part.content.unsure or doubts.waiting:
                doubts.take(self._slot.read(self._log, ledger, part))
        return doubts


def _from_segments(doubts: Doubts, log: TenantLog, line: Line) -> None:
    for name, heading in log.segments(line):
        if heading.content.unsure or doubts.waiting:
            doubts.take(log.read(name, heading)[0])


def lines_of(log: TenantLog, slot_of: SlotOf, store: str, environment: str, timeline: int) -> list[LineLog]:
    """Those that may go on from a base of that environment and time-line."""
    own, shared = Line(store, timeline=timeline), Line(store, environment=environment)
    return [SharedLine(log, slot_of(shared)), OwnLine(log, own)]
