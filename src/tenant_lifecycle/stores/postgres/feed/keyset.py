"""Exact sets of keys the tenant owns; small ones in memory, large ones in a file, so that memory stays bounded."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

#: Above this many keys a set moves into the file.
IN_MEMORY = 200_000


class KeyFile:
    """The file that large sets share. It is rebuilt at every start, so it needs no durability."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._tables = 0

    def open(self) -> sqlite3.Connection:
        """The connection, made on first use; hold ``lock`` while using it."""
        if self._db is None:
            self.path.unlink(missing_ok=True)
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            for setting in (
                "journal_mode=OFF",
                "synchronous=OFF",
                "locking_mode=EXCLUSIVE",
                "cache_size=-8000",
            ):
                self._db.execute(f"PRAGMA {setting}")
        return self._db

    def new_table(self) -> str:
        """Create one more table of rows and their values; return its name."""
        db = self.open()
        self._tables += 1
        name = f"keys{self._tables}"
        db.execute(f"CREATE TABLE {name} (row BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        db.execute(f"CREATE INDEX {name}_value ON {name} (value)")
        return name

    def close(self) -> None:
        """Delete the file."""
        with self.lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            self.path.unlink(missing_ok=True)


class KeySet:
    """For every owned row of a parent table the value by which children refer to it.

    ``has(value)`` says whether any owned row has that value. Rows are named by their keys, because a delete
    carries nothing else; ``same`` says that the value is the key without its leading count.
    """

    has: Callable[[bytes], bool]

    def __init__(self, file: KeyFile, *, same: bool, in_memory: int = IN_MEMORY) -> None:
        self._file = file
        self._same = same
        self._limit = in_memory
        self._values: dict[bytes, int] = {}
        self._rows: dict[bytes, bytes] = {}
        self._table: str | None = None
        self._lock = threading.Lock()
        self.has = self._values.__contains__

    def __len__(self) -> int:
        if self._table is None:
            return len(self._values) if self._same else len(self._rows)
        with self._file.lock:
            return int(self._file.open().execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])  # noqa: S608

    def add(self, row: bytes, value: bytes) -> bool:
        """The row is owned and has that value; False if that was known."""
        with self._lock:
            if self._table is not None:
                return self._add_to_file(row, value)
            if self._same:
                if value in self._values:
                    return False
                self._values[value] = 1
            else:
                before = self._rows.get(row)
                if before == value:
                    return False
                if before is not None:
                    self._drop(before)
                self._rows[row] = value
                self._values[value] = self._values.get(value, 0) + 1
            if len(self._values) > self._limit or len(self._rows) > self._limit:
                self._move_to_file()
            return True

    def remove(self, row: bytes) -> bool:
        """The row is gone or no longer owned; False if it was not known."""
        with self._lock:
            if self._table is not None:
                with self._file.lock:
                    query = f"DELETE FROM {self._table} WHERE row = ?"  # noqa: S608
                    return self._file.open().execute(query, (row,)).rowcount > 0
            if self._same:
                return self._values.pop(row[2:], None) is not None
            value = self._rows.pop(row, None)
            if value is not None:
                self._drop(value)
            return value is not None

    def _drop(self, value: bytes) -> None:
        left = self._values[value] - 1
        if left:
            self._values[value] = left
        else:
            del self._values[value]

    def _move_to_file(self) -> None:
        with self._file.lock:
            self._table = self._file.new_table()
            rows = (
                ((len_two(value) + value, value) for value in self._values)
                if self._same
                else self._rows.items()
            )
            db = self._file.open()
            db.execute("BEGIN")
            db.executemany(f"INSERT INTO {self._table} VALUES (?, ?)", rows)  # noqa: S608
            db.execute("COMMIT")
        self.has = self._in_file
        self._values, self._rows = {}, {}

    def _add_to_file(self, row: bytes, value: bytes) -> bool:
        with self._file.lock:
            cursor = self._file.open().execute(
                f"INSERT INTO {self._table} VALUES (?, ?) ON CONFLICT (row) DO UPDATE SET value = excluded.value "  # noqa: S608
                "WHERE value <> excluded.value",
                (row, value),
            )
            return cursor.rowcount > 0

    def _in_file(self, value: bytes) -> bool:
        with self._file.lock:
            row = self._file.open().execute(
                f"SELECT 1 FROM {self._table} WHERE value = ? LIMIT 1",  # noqa: S608
                (value,),
            )
            return row.fetchone() is not None


def len_two(value: bytes) -> bytes:
    """The leading count of a key made of those fields."""
    count = at = 0
    while at < len(value):
        at += 4 + max(int.from_bytes(value[at : at + 4], "big", signed=True), 0)
        count += 1
    return count.to_bytes(2, "big")
