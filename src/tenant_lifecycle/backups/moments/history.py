"""Everything that is known of one tenant's past: which moments there are, and each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.timelines import Timelines
from tenant_lifecycle.backups.moments import refusals
from tenant_lifecycle.backups.moments.cut import Cut, before_position, before_transaction
from tenant_lifecycle.backups.moments.doubts import Doubts, of_base
from tenant_lifecycle.backups.moments.lines import LineLog, SlotOf, lines_of
from tenant_lifecycle.backups.moments.moment import Bases, FoldedMoment
from tenant_lifecycle.backups.moments.replay import INVERSION_US, reaches
from tenant_lifecycle.backups.moments.window import Reach, contains, intervals, run_from, window
from tenant_lifecycle.errors import NotRestorable, UsageError
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.backup.manifest import Manifest, RestoreWindow, StoreBase


@dataclass(frozen=True, slots=True)
class Reachable:
    """A base with, for each of its stores, the log that goes on from it."""

    manifest: Manifest
    lines: Mapping[str, LineLog]
    reaches: tuple[Reach, ...]

    def has(self, at_us: int) -> bool:
        return contains(intervals(self.reaches), at_us)


class History:
    """One tenant's bases and logs, as they are now: make a new one to see what came since."""

    def __init__(self, bases: Bases, log: TenantLog, slot_of: SlotOf, clock_us: Callable[[], int]) -> None:
        """``clock_us``: microseconds since 1970, to tell the future from what the log does not have yet."""
        self.timelines = Timelines(log)
        self._bases = bases
        self._log = log
        self._slot_of = slot_of
        self._clock_us = clock_us
        self._doubts: dict[LineLog, Doubts] = {}
        self._known: dict[tuple[str, str, int], list[LineLog]] = {}

    def window(self) -> RestoreWindow:
        """Moments at which every store can be restored exactly, and why not in between."""
        return window([one.reaches for one in self.reachable()])

    def at(self, at_us: int, timeline: int | None = None) -> FoldedMoment:
        """The tenant at that moment, from the newest base that reaches it.

        Raises:
            NotRestorable: with the reason, the intervals and the nearest moments.
        """
        found = [one for one in self.reachable() if timeline in (None, one.manifest.timeline)]
        for one in reversed(found):
            if one.has(at_us) and self._reaches(one, Cut(at_us)):
                return self._moment(one, Cut(at_us))
        raise refusals.not_restorable(
            at_us, window([one.reaches for one in found]), self._clock_us(), timeline
        )

    def at_mark(self, label: str) -> FoldedMoment:
        """The moment that somebody gave this name."""
        return self.at(self.timelines.mark(label))

    def of_base(self, backup: str) -> FoldedMoment:
        """What a base has, without any log: each store as it was when it was read.

        Raises:
            UsageError: there is no such base.
        """
        for manifest in self._bases.manifests():
            if manifest.id == backup:
                at_us = max(base.at_us for base in manifest.stores.values())
                return FoldedMoment(self._bases, manifest, Cut(at_us), lambda _: iter(()), {})
        raise UsageError(f"there is no base {backup!r}", next_step="see: tenantctl backup list")

    def before_position(self, store: str, position: int) -> FoldedMoment:
        """The moment before the store's commit at or behind this position of its log."""
        return self._before(store, lambda frames: before_position(store, frames, position))

    def before_transaction(self, store: str, xid: int) -> FoldedMoment:
        """The moment before this transaction's commit, by its 64-bit number."""
        return self._before(store, lambda frames: before_transaction(store, frames, xid))

    def frames(self, store: str, timeline: int, from_position: int, through_us: int) -> Iterator[Frame]:
        """Of one store's log, in order of positions; at least up to the first that is behind ``through_us``.

        Raises:
            NotRestorable: no log has that position.
        """
        for line in self._lines_of(store, timeline):
            if run_from(line.coverage(), from_position) is not None:
                return line.frames(from_position, through_us)
        raise NotRestorable(f"no change log of {store} on time-line {timeline} has position {from_position}")

    def coverage(self) -> list[Covered]:
        """What the logs that go on from its bases cover."""
        places = {(store, one.timeline) for one in self._bases.manifests() for store in one.stores}
        return [
            stretch.covered(line.line, timeline)
            for store, timeline in sorted(places)
            for line in self._lines_of(store, timeline)
            for stretch, broken in line.coverage() if not broken
        ]  # fmt: skip

    def reachable(self) -> list[Reachable]:
        """Every base, oldest first, with how far its logs go."""
        return [self._reachable(manifest) for manifest in self._bases.manifests() if manifest.stores]

    def _reachable(self, manifest: Manifest) -> Reachable:
        ends_us = self.timelines.ends_us(manifest.timeline)
        chosen = {store: self._line(manifest, base) for store, base in manifest.stores.items()}
        return Reachable(
            manifest,
            {store: line for store, (line, _) in chosen.items()},
            tuple(_until(reach, ends_us) for _, reach in chosen.values()),
        )

    def _line(self, manifest: Manifest, base: StoreBase) -> tuple[LineLog, Reach]:
        """The line that goes on furthest from the base."""
        lines = self._lines(base.store, manifest.environment, manifest.timeline)
        return max(((line, self._reach(base, line)) for line in lines), key=lambda one: one[1].to_us)

    def _lines(self, store: str, environment: str, timeline: int) -> list[LineLog]:
        place = (store, environment, timeline)
        if place not in self._known:
            self._known[place] = lines_of(self._log, self._slot_of, *place)
        return self._known[place]

    def _lines_of(self, store: str, timeline: int) -> list[LineLog]:
        """Of a store in every environment that a base of the time-line was made in, each once."""
        bases = [one for one in self._bases.manifests() if store in one.stores and one.timeline == timeline]
        found = {line.line: line for one in bases for line in self._lines(store, one.environment, timeline)}
        return list(found.values())

    def _reach(self, base: StoreBase, line: LineLog) -> Reach:
        run = run_from(line.coverage(), base.log_from)
        if run is None:
            return Reach(
                base.store, base.at_us, base.at_us - 1, ends="its change log does not reach the base"
            )
        if line not in self._doubts:
            self._doubts[line] = line.doubts()
        said = self._doubts[line]
        doubts = of_base(base, said.found(), said.reshaped)
        return Reach(base.store, base.at_us, run.through_us, tuple(doubts), run.ends)

    def _reaches(self, one: Reachable, cut: Cut) -> bool:
        """Whether everything in the base came before the cut: not always so where commits' times are out of order."""
        return all(
            cut.at_us > base.at_us + INVERSION_US
            or reaches(base, one.lines[store].frames(base.log_from, base.at_us + INVERSION_US), cut)
            for store, base in one.manifest.stores.items()
        )

    def _moment(self, one: Reachable, cut: Cut) -> FoldedMoment:
        def frames(base: StoreBase) -> Iterator[Frame]:
            return one.lines[base.store].frames(base.log_from, cut.through_us(base.store))

        ends = {store: _end(line, one.manifest.stores[store]) for store, line in one.lines.items()}
        return FoldedMoment(self._bases, one.manifest, cut, frames, ends)

    def _before(self, store: str, find: Callable[[Iterator[Frame]], Cut]) -> FoldedMoment:
        found = [one for one in self.reachable() if store in one.lines]
        if not found:
            raise refusals.no_base()
        oldest = found[0]
        cut = find(oldest.lines[store].frames(oldest.manifest.stores[store].log_from, None))
        for one in reversed(found):
            if one.has(cut.at_us) and self._reaches(one, cut):
                return self._moment(one, cut)
        raise refusals.not_restorable(
            cut.at_us, window([one.reaches for one in found]), self._clock_us(), None
        )


def _until(reach: Reach, ends_us: int | None) -> Reach:
    if ends_us is None or reach.to_us <= ends_us:
        return reach
    return Reach(reach.store, reach.from_us, ends_us, reach.doubts, "a restore began a new time-line")


def _end(line: LineLog, base: StoreBase) -> int:
    """The position behind everything that is covered without a hole."""
    run = run_from(line.coverage(), base.log_from)
    return base.log_from if run is None else run.through + 1
