"""Numbered objects of which each knows the one before: what is missing, twice or exchanged is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.log.stretch import Heading, Line, Stretch
from tenant_lifecycle.errors import InvariantViolated, LeaseLost, RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame

_BRING_BACK = "bring the object back from the other region: tenantctl backup check --repair"


def name_of(folder: str, number: int, ending: str) -> str:
    return f"{folder}/{number:012d}.{ending}"


@dataclass(frozen=True, slots=True)
class Named:
    """An object of a chain, as it is listed."""

    number: int
    name: str
    size: int


def numbered(storage: Storage, folder: str, ending: str, after: str = "") -> Iterator[Named]:
    """The objects in a folder, in order of their numbers. Others that lie there are none of ours."""
    for name, size, _ in storage.names(f"{folder}/", after):
        number, dot, found = name.removeprefix(f"{folder}/").partition(".")
        if dot and found == ending and number.isdecimal() and len(number) == 12:
            yield Named(int(number), name, size)


def check_number(before: Heading | None, name: str, heading: Heading) -> None:
    """Raises `RepositoryDamaged` if objects between this one and the one before are missing."""
    if before is not None and heading.number != before.number + 1:
        raise RepositoryDamaged(
            f"{name}: is number {heading.number} of its log and follows number {before.number}; those between "
            "are missing",
            next_step=_BRING_BACK,
        )


def check_previous(digest: str | None, name: str, heading: Heading) -> None:
    """Raises `RepositoryDamaged` if the object before, whose digest this is, is not the one that was there."""
    if digest is not None and heading.previous != digest:
        raise RepositoryDamaged(
            f"{name}: the object before it, number {heading.number - 1}, is not the one that it was written after",
            next_step=_BRING_BACK,
        )


def new_of(frames: Sequence[Frame], stretch: Stretch, through: int | None) -> tuple[list[Frame], Stretch]:
    """What of this is not stored yet, if everything up to ``through`` is.

    Raises:
        InvariantViolated: positions do not grow, or lie outside of the stretch.
    """
    positions = [frame.position for frame in frames]
    if positions != sorted(positions):
        raise InvariantViolated("frames for the change log are not in order of their positions")
    if positions and (positions[-1] > stretch.through or stretch.after > stretch.through):
        raise InvariantViolated("frames for the change log lie behind the position that they should cover")
    if through is None:
        return list(frames), stretch
    rest = [frame for frame in frames if frame.position > through]
    return rest, replace(stretch, after=max(through, stretch.after)) if stretch.after <= through else stretch


def lost_to_another(line: Line, name: str, where: str) -> LeaseLost:
    """Somebody else wrote the next object, and not what we wanted to write."""
    whose = f"environment {line.environment}" if line.environment else f"time-line {line.timeline}"
    return LeaseLost(
        f"another archiver writes the change log of {line.store}, {whose}: {name} is there already in {where}",
        next_step="stop one of the two; nothing is lost: what is not confirmed comes again",
    )
