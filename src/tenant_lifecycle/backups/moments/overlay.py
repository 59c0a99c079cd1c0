"""What the log did to the items of one set, by key, in bounded memory.

Entries are kept in a dictionary, and above a limit moved to a temporary database of SQLite. It has no name: its file
is unlinked as soon as it is open, so what was decrypted is gone with the process.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from tenant_lifecycle.model.backup.items import UNCHANGED, PatchCell

#: Entries, and bytes of their cells, that stay in memory before they are moved to the disk.
KEEP_ENTRIES = 100_000
KEEP_BYTES = 48 * 2**20


class Entry(NamedTuple):
    """What became of one key."""

    #: None: the item is gone.
    cells: tuple[PatchCell, ...] | None
    #: The key of the base's item that unchanged cells come from.
    origin: bytes | None = None
    #: Of the frame that did it last.
    at_us: int = 0
    #: It was written, and nobody knows what.
    unknown: bool = False

    @property
    def resolved(self) -> bool:
        """Whether it needs nothing of the base."""
        return self.cells is None or UNCHANGED not in self.cells


class Overlay:
    """Entries by key; the last one put for a key counts."""

    def __init__(self) -> None:
        self._recent: dict[bytes, Entry] = {}
        self._bytes = 0
        self._spilled: sqlite3.Connection | None = None

    def get(self, key: bytes) -> Entry | None:
        found = self._recent.get(key)
        if found is not None or self._spilled is None:
            return found
        row = self._spilled.execute("SELECT entry FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else _thaw(row[0])

    def put(self, key: bytes, entry: Entry) -> None:
        self._recent[key] = entry
        self._bytes += len(key) + sum(len(cell) for cell in entry.cells or () if isinstance(cell, bytes))
        if len(self._recent) >= KEEP_ENTRIES or self._bytes >= KEEP_BYTES:
            self._spill()

    def clear(self) -> None:
        """No entry is left."""
        self._recent.clear()
        self._bytes = 0
        if self._spilled is not None:
            self._spilled.execute("DELETE FROM entries")

    def ordered(self) -> Iterator[tuple[bytes, Entry]]:
        """Every entry in order of keys; nothing may be put while it runs."""
        if self._spilled is None:
            for key in sorted(self._recent):
                yield key, self._recent[key]
            return
        self._spill()
        for key, frozen in self._spilled.execute("SELECT key, entry FROM entries ORDER BY key"):
            yield key, _thaw(frozen)

    def __bool__(self) -> bool:
        if self._recent or self._spilled is None:
            return bool(self._recent)
        return self._spilled.execute("SELECT 1 FROM entries LIMIT 1").fetchone() is not None

    def close(self) -> None:
        """Forget everything; safe to repeat."""
        self._recent.clear()
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None

    def _spill(self) -> None:
        if self._spilled is None:
            # An empty name: a temporary file that SQLite unlinks at once, behind a cache of a bounded size.
            self._spilled = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._spilled.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, entry BLOB) WITHOUT ROWID")
            self._spilled.execute("PRAGMA cache_size = -16384")
        self._spilled.execute("BEGIN")
        self._spilled.executemany(
            "INSERT OR REPLACE INTO entries VALUES (?, ?)",
            ((key, _freeze(self._recent[key])) for key in sorted(self._recent)),
        )
        self._spilled.execute("COMMIT")
        self._recent.clear()
        self._bytes = 0


def _freeze(entry: Entry) -> bytes:
    cells: Any = entry.cells
    if cells is not None:
        cells = tuple(False if cell is UNCHANGED else cell for cell in cells)
    return marshal.dumps((cells, entry.origin, entry.at_us, entry.unknown))


def _thaw(frozen: bytes) -> Entry:
    cells, origin, at_us, unknown = marshal.loads(frozen)
    if cells is not None:
        cells = tuple(UNCHANGED if cell is False else cell for cell in cells)
    return Entry(cells, origin, at_us, unknown)
