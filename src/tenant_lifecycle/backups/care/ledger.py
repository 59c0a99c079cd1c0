"""What was verified when: signed notes below ``verify/``, and from them what has to be looked at next.

Verifying a random share leaves some bytes unseen for ever; the least recently verified first, with a quota that
grows with the repository, sees every byte within the promised time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.backups.care.objects import Listed, Sort
from tenant_lifecycle.backups.care.signed import Signs, read_signed, signed
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.errors import RepositoryDamaged

FOLDER = "verify/"
_MOST_IN_A_NOTE = 5000


@dataclass(frozen=True, slots=True)
class Verified:
    """One object that was found whole."""

    name: str
    size: int
    #: SHA-256, hex.
    digest: str
    #: 1 or 2: without keys, or opened.
    level: int


@dataclass(slots=True)
class Ledger:
    """Everything that the notes say together; times are seconds since 1970."""

    #: The newest word on each object that should be there.
    objects: dict[str, Verified] = field(default_factory=dict)
    #: When each object was seen at level L2 last.
    opened_at: dict[str, float] = field(default_factory=dict)
    #: Directory and id of a base -> when it passed level L3 last.
    bases_at: dict[tuple[str, str], float] = field(default_factory=dict)
    #: Names of objects that were rightly deleted.
    gone: set[str] = field(default_factory=set)
    #: SHA-256 of manifests that were rightly deleted, hex.
    let_go: set[str] = field(default_factory=set)
    #: Notes that could not be read, with the reason.
    damaged: dict[str, str] = field(default_factory=dict)

    def verified_bases(self, directory: str) -> list[str]:
        """Ids of the directory's bases that passed level L3."""
        return [base for path, base in self.bases_at if path == directory]

    def _add(self, body: Mapping[str, object]) -> None:
        at = int(str(body["at_us"])) / 1_000_000
        for name in _strings(body["gone"]):
            self.gone.add(name)
            self.objects.pop(name, None)
            self.opened_at.pop(name, None)
        self.let_go.update(_strings(body["digests"]))
        for row in _rows(body["objects"]):
            seen = Verified(str(row[0]), int(str(row[1])), str(row[2]), int(str(row[3])))
            self.objects[seen.name] = seen
            self.gone.discard(seen.name)
            if seen.level >= 2:
                self.opened_at[seen.name] = at
        for row in _rows(body["bases"]):
            self.bases_at[str(row[0]), str(row[1])] = at


def read_ledger(storage: Storage, signs: Signs) -> Ledger:
    """All notes, the oldest first; one that was changed counts as not written, and is named."""
    ledger = Ledger()
    for name, _, _ in list(storage.names(FOLDER)):
        try:
            body = read_signed(name, storage.get(name), signs)
        except RepositoryDamaged as exc:
            ledger.damaged[name] = str(exc)
        else:
            ledger._add(body)
    return ledger


def write_notes(
    storage: Storage,
    signs: Signs,
    at: float,
    *,
    objects: Sequence[Verified] = (),
    bases: Sequence[tuple[str, str]] = (),
    gone: Sequence[str] = (),
    digests: Sequence[str] = (),
) -> list[str]:
    """Note what was verified, and what was rightly deleted (manifests also by ``digests``); names of the notes."""
    written = []
    pieces = max(1, -(-max(len(objects), len(gone)) // _MOST_IN_A_NOTE))
    for piece in range(pieces):
        part = slice(piece * _MOST_IN_A_NOTE, (piece + 1) * _MOST_IN_A_NOTE)
        body = {
            "at_us": round(at * 1_000_000),
            "objects": [[one.name, one.size, one.digest, one.level] for one in objects[part]],
            "bases": [list(one) for one in bases] if piece == 0 else [],
            "gone": list(gone[part]),
            "digests": list(digests) if piece == 0 else [],
        }
        # Names sort by time; two that are written at once differ.
        name = f"{FOLDER}{round(at * 1_000_000):017d}-{piece:04d}-{os.urandom(4).hex()}.note"
        storage.put(name, signed(name, body, signs))
        written.append(name)
    return written


def forget_before(storage: Storage, at: float) -> Iterator[str]:
    """Names of notes that are older; what they say was said again since, or is about what is gone."""
    limit = f"{FOLDER}{round(at * 1_000_000):017d}"
    return (name for name, _, _ in storage.names(FOLDER) if name < limit)


#: What is not worth a look by the ledger: it is read whenever it is used, or is of no use any more.
_UNCOUNTED = frozenset({Sort.NOTE, Sort.TOMB, Sort.ASIDE, Sort.UNKNOWN})


def counted(objects: Iterable[Listed]) -> list[Listed]:
    """Those that are to be verified within the promised time."""
    return [one for one in objects if one.sort not in _UNCOUNTED]


def share(
    objects: Sequence[Listed], opened_at: Mapping[str, float], now: float, within_s: float, every_s: float
) -> list[Listed]:
    """What a check has to open now, if checks come every ``every_s`` and all has to be seen ``within_s``.

    The least recently seen first (a new object was seen when it was written), as many bytes as are this run's share,
    and whatever would be too old before the run after the next.
    """
    seen = {one.name: opened_at.get(one.name, one.modified) for one in objects}
    # Three runs to spare, so that what is almost due is the exception.
    rounds = max(1.0, within_s / every_s - 3)
    quota = sum(one.size for one in objects) / rounds
    chosen: list[Listed] = []
    taken = 0
    for one in sorted(objects, key=lambda one: (seen[one.name], one.name)):
        if taken >= quota and seen[one.name] + within_s > now + 2 * every_s:
            break
        chosen.append(one)
        taken += one.size
    return chosen


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _rows(value: object) -> list[list[object]]:
    return [one for one in value if isinstance(one, list)] if isinstance(value, list) else []
