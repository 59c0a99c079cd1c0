"""What a search of one place has found so far: counts, the first hits, and whether the control was among them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.model.erasure.match import Pages
from tenant_lifecycle.stores.erasing import Found, Hit, Looked, Match, Whose

#: Hits that are kept; all are counted.
MOST_HITS = 100


@dataclass(slots=True)
class Tally:
    """Filled by a searcher, piece by piece, from several threads; `looked` is the result."""

    place: str
    found: Found
    #: The set that everything here belongs to; see `Hit.set`.
    set: str = ""
    items: int = 0
    bytes_read: int = 0
    hits: list[Hit] = field(default_factory=list)
    hit_count: int = 0
    control_found: bool = False
    unread: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self) -> None:
        """One item more."""
        with self._lock:
            self.items += 1

    def look(self, where: str, data: bytes, proposal: str = "") -> None:
        """Look into some bytes that stand at ``where``."""
        matches = self.found(data)
        with self._lock:
            self.bytes_read += len(data)
        self.note(where, matches, proposal)

    def look_at_pages(self, where: str, data: bytes, proposal: str = "") -> None:
        """Look into pages of a file that is also read by other means; nothing in them counts as damaged."""
        found = self.found.in_pages if isinstance(self.found, Pages) else self.found
        matches = found(data)
        with self._lock:
            self.bytes_read += len(data)
        self.note(where, matches, proposal)

    def look_through(self, rows: Sequence[tuple[str, bytes]], proposal: str = "") -> None:
        """Look into many small pieces at once, and one by one only where something of the tenant is."""
        block = b"\0".join(data for _, data in rows)
        matches = self.found(block)
        with self._lock:
            self.items += len(rows)
            self.bytes_read += len(block)
            self.control_found |= any(match.whose is Whose.CONTROL for match in matches)
        mine = [match for match in matches if match.whose is Whose.TENANT]
        if not mine:
            return
        before = self.hit_count
        for where, data in rows:
            self.note(where, self.found(data), proposal)
        if self.hit_count == before:
            # In no piece by itself, and in them all the same: said, not lost.
            self.note(f"{rows[0][0]} and what follows", mine, proposal)

    def note(self, where: str, matches: Iterable[Match], proposal: str = "") -> None:
        """Count what was recognised at ``where``."""
        with self._lock:
            for match in matches:
                self._keep(where, match, proposal)

    def _keep(self, where: str, match: Match, proposal: str) -> None:
        if match.whose is Whose.CONTROL:
            self.control_found = True
            return
        self.hit_count += 1
        if len(self.hits) < MOST_HITS:
            self.hits.append(Hit(self.place, where, match, proposal, self.set))

    def could_not_read(self, why: str) -> None:
        """Something was left out; the search proves nothing then."""
        with self._lock:
            if why not in self.unread:
                self.unread.append(why)

    def looked(self) -> Looked:
        return Looked(
            self.items, self.bytes_read, tuple(self.hits), self.hit_count, self.control_found,
            "; ".join(self.unread[:5]),
        )  # fmt: skip
