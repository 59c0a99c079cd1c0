"""Whose every row is, on disk: what a delete that carries only a key does not say.

One SQLite file. Everything since the last `save` is one open transaction: a process that dies finds the index as it
was at the position that is confirmed, which is where the stream begins again. What a transaction of the source did
to it cannot be half there.

Tables: ``row`` (a row's owners, what decided about them, the values that other rows refer to, its cells where they
are kept), ``name`` (which rows have such a value), ``meta``.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.backup.items import Cell
from tenant_lifecycle.stores.postgres.archive.packing import packed, unpacked

Owners = tuple[str, ...]
#: Answers about referred values that are kept in memory.
_REMEMBERED = 50_000

_TABLES = """
CREATE TABLE IF NOT EXISTS row (
    tab INTEGER, key BLOB, owners TEXT NOT NULL, link BLOB, named BLOB NOT NULL, content BLOB,
    PRIMARY KEY (tab, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS row_link ON row (tab, link) WHERE link IS NOT NULL;
CREATE TABLE IF NOT EXISTS name (
    look INTEGER, value BLOB, key BLOB, owners TEXT NOT NULL, PRIMARY KEY (look, value, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index knows of a row."""

    owners: Owners
    #: The way that decided, and the value it followed; None: the row names its tenant, or nobody.
    link: bytes | None
    #: Its values by which others refer to it, in the order of the table's looks.
    named: tuple[Cell, ...]
    #: Its cells, where they are kept: of shared people, and of rows without an owner.
    content: tuple[Cell, ...] | None


class OwnerIndex:
    """Used by one thread; one process per folder."""

    def __init__(self, folder: Path, store: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._lock.close()
            raise StoreBusy(
                f"{store}: another process archives into {folder}",
                store=store,
                next_step="there is one archiver for each database; end the other",
            ) from exc
        self._db = sqlite3.connect(folder / "owners.db", isolation_level=None, check_same_thread=False)
        # Deleted rows leave no bytes behind: they may have been of a tenant that was erased.
        self._db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; PRAGMA secure_delete=ON;"
            + _TABLES
        )
        self._owners: dict[tuple[int, bytes], Owners] = {}
        self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """What was not saved is forgotten; safe to repeat."""
        self._db.close()
        self._lock.close()

    def save(self) -> None:
        """Make everything so far durable."""
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")

    def forget_unsaved(self) -> None:
        """Go back to what was saved."""
        self._db.execute("ROLLBACK")
        self._db.execute("BEGIN IMMEDIATE")
        self._owners.clear()

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def empty(self) -> None:
        """Forget everything, as if it had never been filled."""
        for statement in ("DELETE FROM row", "DELETE FROM name", "DELETE FROM meta"):
            self._db.execute(statement)
        self._owners.clear()

    # -- rows

    def get(self, tab: int, key: bytes) -> Known | None:
        row = self._db.execute(
            "SELECT owners, link, named, content FROM row WHERE tab = ? AND key = ?", (tab, key)
        ).fetchone()
        return None if row is None else _known(*row)

    def put(self, tab: int, key: bytes, known: Known) -> None:
        content = None if known.content is None else packed(known.content)
        self._db.execute(
            "INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?, ?, ?)",
            (tab, key, _text(known.owners), known.link, packed(known.named), content),
        )

    def drop(self, tab: int, key: bytes) -> None:
        self._db.execute("DELETE FROM row WHERE tab = ? AND key = ?", (tab, key))

    def linked(self, tab: int, link: bytes) -> list[tuple[bytes, Known]]:
        """Rows of a table that were decided that way."""
        rows = self._db.execute(
            "SELECT key, owners, link, named, content FROM row WHERE tab = ? AND link = ?", (tab, link)
        )
        return [(key, _known(*rest)) for key, *rest in rows]

    def rows(self, tab: int) -> Iterator[tuple[bytes, Known]]:
        """Every row of a table, by key; the table may be changed while they are read."""
        last: bytes | None = None
        while True:
            rows = self._db.execute(
                "SELECT key, owners, link, named, content FROM row WHERE tab = ? AND (? IS NULL OR key > ?) "
                "ORDER BY key LIMIT 1000",
                (tab, last, last),
            ).fetchall()
            for key, *rest in rows:
                yield key, _known(*rest)
            if len(rows) < 1000:
                return
            last = rows[-1][0]

    def owners_in(self, tab: int) -> set[str]:
        """Everybody who has a row in the table."""
        rows = self._db.execute("SELECT DISTINCT owners FROM row WHERE tab = ?", (tab,))
        return {owner for (text,) in rows for owner in _owners(text)}

    def remap(self, tab: int, change: Callable[[tuple[Cell, ...]], tuple[Cell, ...] | None]) -> None:
        """Cells that are kept, after the table's columns changed."""
        for key, known in self.rows(tab):
            if known.content is not None:
                self.put(tab, key, Known(known.owners, known.link, known.named, change(known.content)))

    # -- values that others refer to

    def owners(self, look: int, value: bytes) -> Owners:
        """Whose the rows with that value are, sorted; empty if there is none."""
        found = self._owners.get((look, value))
        if found is None:
            rows = self._db.execute("SELECT owners FROM name WHERE look = ? AND value = ?", (look, value))
            found = tuple(sorted({owner for (text,) in rows for owner in _owners(text)}))
            if len(self._owners) >= _REMEMBERED:
                self._owners.clear()
            self._owners[look, value] = found
        return found

    def name(self, look: int, value: bytes, key: bytes, owners: Owners) -> None:
        self._owners.pop((look, value), None)
        self._db.execute("INSERT OR REPLACE INTO name VALUES (?, ?, ?, ?)", (look, value, key, _text(owners)))

    def unname(self, look: int, value: bytes, key: bytes) -> None:
        self._owners.pop((look, value), None)
        self._db.execute("DELETE FROM name WHERE look = ? AND value = ? AND key = ?", (look, value, key))


# Tenants are few beside rows.
@lru_cache(maxsize=10_000)
def _text(owners: Owners) -> str:
    return json.dumps(owners)


@lru_cache(maxsize=10_000)
def _owners(text: str) -> Owners:
    return tuple(json.loads(text))


def _known(owners: str, link: bytes | None, named: bytes, content: bytes | None) -> Known:
    return Known(_owners(owners), link, unpacked(named), None if content is None else unpacked(content))
