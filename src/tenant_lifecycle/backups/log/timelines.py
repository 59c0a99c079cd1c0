"""A tenant's time-lines and marks, kept beside its log: what happened to it that no store's log says.

A restore in place begins a new time-line. Moments since then need a base of it; those of the time-line before stay
restorable, also the future that was given up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.sealing import Kind
from tenant_lifecycle.errors import NotRestorable, RepositoryDamaged, WrongState

FIRST = 1


@dataclass(frozen=True, slots=True)
class Timeline:
    """One that was begun; the first is there from the beginning and is none of these."""

    number: int
    #: Microseconds since 1970 by the judge's clock: from here on it counts, and the one before does not.
    begun_us: int
    #: The moment that was restored; None: it began for another reason, such as a move of the writer.
    restored_us: int | None


class Timelines:
    """Those of one tenant, and its marks."""

    def __init__(self, log: TenantLog) -> None:
        self._log = log

    def all(self) -> list[Timeline]:
        """Every one but the first, in order.

        Raises:
            RepositoryDamaged: one is missing, or was changed.
        """
        names = [name for name, _, _ in self._log.storage.names(self._below("timelines/"))]
        found = [self._read(name) for name in names]
        if [one.number for one in found] != list(range(FIRST + 1, FIRST + 1 + len(found))):
            raise RepositoryDamaged(f"{self._below('timelines/')}: a time-line is missing")
        return found

    def current(self) -> int:
        """The number of the newest."""
        return FIRST + len(self.all())

    def begin(self, number: int, begun_us: int, restored_us: int | None) -> None:
        """Begin this one; repeating it does nothing.

        Raises:
            WrongState: it was begun otherwise, or the one before it was not.
        """
        current = self.current()
        wanted = Timeline(number, begun_us, restored_us)
        if number <= current:
            if wanted not in self.all():
                raise WrongState(f"time-line {number} was begun already, by another restore")
            return
        if number != current + 1:
            raise WrongState(f"time-line {number} cannot begin: the newest is {current}")
        if not self._put(self._name(number), asdict(wanted)) and self._read(self._name(number)) != wanted:
            raise WrongState(f"time-line {number} was begun already, by another restore")

    def ends_us(self, number: int) -> int | None:
        """The last moment of a time-line; None: it still goes on."""
        following = [one.begun_us for one in self.all() if one.number == number + 1]
        return following[0] - 1 if following else None

    def put_mark(self, label: str, at_us: int) -> None:
        """Give a moment a name. Repeating it does nothing.

        Raises:
            WrongState: the name is that of another moment.
        """
        said: Mapping[str, object] = {"label": label, "at_us": at_us}
        if not self._put(self._mark(label), said) and self.mark(label) != at_us:
            raise WrongState(
                f"the mark {label!r} is at another moment already", next_step="choose another name"
            )

    def mark(self, label: str) -> int:
        """The moment of that name.

        Raises:
            NotRestorable: there is none of that name.
        """
        name = self._mark(label)
        if not any(found == name for found, _, _ in self._log.storage.names(name)):
            raise NotRestorable(f"there is no mark {label!r}", next_step="name a time, or a backup")
        said = self._open(name)
        if said.get("label") != label:
            raise RepositoryDamaged(f"{name}: is another mark")
        return int(said["at_us"])

    def _read(self, name: str) -> Timeline:
        try:
            found = Timeline(**self._open(name))
        except TypeError as exc:
            raise RepositoryDamaged(f"{name}: is no time-line") from exc
        if name != self._name(found.number):
            raise RepositoryDamaged(f"{name}: is another time-line")
        return found

    def _put(self, name: str, said: Mapping[str, object]) -> bool:
        written = json.dumps(said, sort_keys=True).encode()
        return self._log.storage.put(name, self._log.sealer.seal(Kind.COVERAGE, name, [written]))

    def _open(self, name: str) -> dict[str, Any]:
        (written,) = self._log.sealer.open(Kind.COVERAGE, name, self._log.storage.get(name))
        found: dict[str, Any] = json.loads(written)
        return found

    def _name(self, number: int) -> str:
        return self._below(f"timelines/{number:06d}.tln")

    def _mark(self, label: str) -> str:
        digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
        return self._below(f"marks/{digest}.mrk")

    def _below(self, name: str) -> str:
        return self._log.directory.below(name)
