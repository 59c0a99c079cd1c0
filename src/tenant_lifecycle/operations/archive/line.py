"""What the archiver writes to: one log of one store in one environment, for all tenants at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.names import TenantId

#: Tenants for whom a stretch is not covered, and why.
Broken = Mapping[TenantId, str]


class Line(Protocol):
    """The repository's side. One archiver writes to it; a second is refused by the repository (`LeaseLost`)."""

    def through(self) -> Covered | None:
        """The newest stretch; None before the first."""

    def flush(self, frames: Mapping[TenantId, Sequence[Frame]], covered: Covered, broken: Broken) -> None:
        """Durable on return. ``covered`` holds for every tenant but those in ``broken``. Repeating it adds nothing."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a log has come: everything up to this position, and until this moment (microseconds since 1970)."""

    position: int
    at_us: int


def begins(line: Line, archive: Reach) -> Reach:
    """Where the next stretch begins: at the end of the last, or, if changes were lost since, where reading begins."""
    last = line.through()
    if last is None or archive.at_us > last.through_us:
        return archive
    return Reach(last.through_position, last.through_us)
