"""What a search of one place has found so far: counts, the first hits, and whether the control was among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenant_lifecycle.stores.erasing import Found, Hit, Looked, Whose

#: Hits that are kept; all are counted.
MOST_HITS = 100


@dataclass(slots=True)
class Tally:
    """Filled by a searcher, piece by piece; `looked` is the result."""

    place: str
    found: Found
    items: int = 0
    bytes_read: int = 0
    hits: list[Hit] = field(default_factory=list)
    hit_count: int = 0
    control_found: bool = False
    unread: list[str] = field(default_factory=list)

    def look(self, where: str, data: bytes, proposal: str = "") -> None:
        """Look into some bytes that stand at ``where``."""
        self.bytes_read += len(data)
        for match in self.found(data):
            if match.whose is Whose.CONTROL:
                self.control_found = True
                continue
            self.hit_count += 1
            if len(self.hits) < MOST_HITS:
                self.hits.append(Hit(self.place, where, match, proposal))

    def could_not_read(self, why: str) -> None:
        """Something was left out; the search proves nothing then."""
        if why not in self.unread:
            self.unread.append(why)

    def looked(self) -> Looked:
        return Looked(
            self.items, self.bytes_read, tuple(self.hits), self.hit_count, self.control_found,
            "; ".join(self.unread[:5]),
        )  # fmt: skip
