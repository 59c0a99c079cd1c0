"""A DuckDB database file: rows deleted by what they are, then the file written anew.

A checkpoint leaves the bytes of deleted rows in the file, and so does VACUUM (M22); a copy of the database has only
what is alive.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.tablemap import OwnedTable
from tenant_lifecycle.stores.duckdb.keys import wanted
from tenant_lifecycle.stores.duckdb.opening import Session, fetch, session
from tenant_lifecycle.stores.duckdb.quoting import digest, literal, name, owned

#: Beside the file, while it is written anew.
NEW = ".tenant-lifecycle-new"
#: Our markers.
PLANTED = "main.tenant_lifecycle_planted"
_TABLES = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND database_name = current_database() ORDER BY 1, 2"
_COLUMNS = "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? AND database_name = current_database() ORDER BY column_index"


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """One file; sets are its tables, ``schema.name``."""

    store: str
    path: Path

    def sets(self) -> list[str]:
        """Its tables; none if there is no file yet."""
        if not self.path.exists():
            return []
        with self._reading() as conn:
            return [f"{schema}.{table}" for schema, table in fetch(conn, _TABLES)]

    def columns(self, set_name: str) -> list[str]:
        """A table's columns, in order."""
        with self._reading() as conn:
            return _columns(conn, set_name)

    def table_of(self, set_name: str) -> str:
        """The table whose rule is about a set: itself."""
        return set_name

    def count(self, set_name: str, rule: OwnedTable) -> int:
        """How many rows of a table are the tenant's."""
        query = f"SELECT count(*) FROM {_quoted(set_name)} WHERE {owned(rule.column)}"
        with self._reading() as conn:
            return int(str(fetch(conn, query, [sorted(rule.values)])[0][0]))

    def digests(self, set_name: str, rule: OwnedTable) -> Iterator[str]:
        """Digests of the tenant's rows, in order."""
        with self._reading() as conn:
            query = (
                f"SELECT {digest(_columns(conn, set_name))} AS d FROM {_quoted(set_name)} "
                f"WHERE {owned(rule.column)} ORDER BY d"
            )
            rows = conn.execute(query, [sorted(rule.values)])
            while piece := rows.fetchmany(10_000):
                yield from (str(one) for (one,) in piece)

    def there(self, set_name: str, keys: tuple[bytes, ...]) -> Counter[str]:
        """How many rows there are with the digests of some keys, whoever they belong to."""
        with self._reading() as conn:
            if set_name not in [f"{schema}.{table}" for schema, table in fetch(conn, _TABLES)]:
                return Counter()
            query = (
                f"SELECT d, count(*) FROM (SELECT {digest(_columns(conn, set_name))} AS d FROM {_quoted(set_name)}) "
                "WHERE d IN (SELECT unnest(?::VARCHAR[])) GROUP BY d"
            )
            return Counter({str(d): int(str(n)) for d, n in fetch(conn, query, [list(wanted(keys))])})

    def delete(self, set_name: str, rule: OwnedTable, keys: tuple[bytes, ...]) -> int:
        """Delete the rows that the keys name and that still are the tenant's; returns how many."""
        if not self.path.exists():
            return 0
        counts = wanted(keys)
        with session(self.store, str(self.path)) as conn:
            if set_name not in [f"{schema}.{table}" for schema, table in fetch(conn, _TABLES)]:
                return 0
            query = (
                f"DELETE FROM {_quoted(set_name)} WHERE rowid IN (SELECT place FROM (SELECT place, d, "
                f"row_number() OVER (PARTITION BY d) AS n FROM (SELECT rowid AS place, {digest(_columns(conn, set_name))} AS d "
                f"FROM {_quoted(set_name)} WHERE {owned(rule.column)})) AS r JOIN (SELECT unnest(?::VARCHAR[]) AS w, "
                "unnest(?::BIGINT[]) AS many) AS k ON r.d = k.w AND r.n <= k.many)"
            )
            found = fetch(conn, query, [sorted(rule.values), list(counts), list(counts.values())])
            return int(str(found[0][0]))

    def plant(self, tenant: str, marker: str) -> int:
        """Put the marker into a table of ours, once; returns how many rows hold it."""
        with session(self.store, str(self.path)) as conn:
            conn.execute(
                f"CREATE TABLE IF NOT EXISTS {_quoted(PLANTED)} (tenant VARCHAR, kind VARCHAR, body VARCHAR)"
            )
            for kind, body in (("row", marker), ("long", f"{'words ' * 3000}{marker}")):
                conn.execute(
                    f"INSERT INTO {_quoted(PLANTED)} SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM {_quoted(PLANTED)} "
                    "WHERE tenant = ? AND kind = ? AND body = ?)",
                    [tenant, kind, body] * 2,
                )
        return 2

    def settle(self, sets: list[str]) -> tuple[list[str], list[str]]:
        """Write the whole file anew and put it in the old one's place in one step; returns what was done, and left.

        Raises:
            StoreBusy: another process has the file open.
            InvariantViolated: the copy does not have as many rows as the file; the file stays as it is.
        """
        if not self.path.exists() or not sets:
            return [], []
        new = self.path.with_name(self.path.name + NEW)
        new.unlink(missing_ok=True)
        # The lock on the old file is held until the new one is in its place.
        with session(self.store, str(self.path)) as conn:
            _copy(conn, new, self.store)
            shutil.copystat(self.path, new)
            owner = self.path.stat()
            os.chown(new, owner.st_uid, owner.st_gid)
            new.replace(self.path)
        _sync(self.path)
        return [f"{self.path.name} written anew"], []

    def _reading(self) -> AbstractContextManager[Session]:
        return session(self.store, str(self.path), read_only=True)


def _copy(conn: Session, new: Path, store: str) -> None:
    """Copy everything alive into a new file of the same storage version, and count it there."""
    conn.execute("CHECKPOINT")
    ((old, tags),) = fetch(
        conn, "SELECT database_name, tags FROM duckdb_databases() WHERE database_name = current_database()"
    )
    version = str(tags.get("storage_version", "")).rstrip("+") if isinstance(tags, dict) else ""
    known = f" (STORAGE_VERSION {literal(version)})" if version.startswith("v") else ""
    conn.execute(f"ATTACH {literal(str(new))} AS tl_new{known}")
    conn.execute(f"COPY FROM DATABASE {name(str(old))} TO tl_new")
    for schema, table in fetch(conn, _TABLES):
        here, there = (
            f"{name(str(schema))}.{name(str(table))}",
            f"tl_new.{name(str(schema))}.{name(str(table))}",
        )
        ((before, after),) = fetch(
            conn, f"SELECT (SELECT count(*) FROM {here}), (SELECT count(*) FROM {there})"
        )
        if before != after:
            raise InvariantViolated(f"{store}: the copy of {schema}.{table} has {after} of {before} rows")
    conn.execute("CHECKPOINT tl_new")
    conn.execute("DETACH tl_new")


def _sync(path: Path) -> None:
    for target, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        handle = os.open(target, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _columns(conn: Session, set_name: str) -> list[str]:
    return [str(one) for (one,) in fetch(conn, _COLUMNS, list(_split(set_name)))]


def _quoted(set_name: str) -> str:
    return ".".join(map(name, _split(set_name)))


def _split(set_name: str) -> tuple[str, str]:
    schema, _, table = set_name.partition(".")
    return schema, table
