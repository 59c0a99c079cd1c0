"""A folder of Parquet files: files with rows of the tenant are written anew without them, or go as a whole.

A table is a folder right under ours (``events/2026/11.parquet``, ``events/tenant_id=acme/0.parquet``), or a file right
in it. Folders called ``column=value`` are columns, as text.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.model.tablemap import OwnedTable
from tenant_lifecycle.stores.duckdb.keys import wanted
from tenant_lifecycle.stores.duckdb.opening import Session, fetch, session
from tenant_lifecycle.stores.duckdb.quoting import digest, literal, name, owned

NEW = ".tenant-lifecycle-new"
PLANTED = "tenant_lifecycle_planted.parquet"


@dataclass(frozen=True, slots=True)
class ParquetFolder:
    """One folder; sets are its files, by their path inside it."""

    store: str
    path: Path

    def sets(self) -> list[str]:
        """Its Parquet files."""
        return [one for one in self.files() if one.endswith(".parquet")]

    def files(self) -> list[str]:
        """All files, of whatever kind; leftovers of a rewrite of ours that was cut off are no data."""
        found = (one for one in sorted(self.path.rglob("*")) if one.is_file() and not one.name.endswith(NEW))
        return [one.relative_to(self.path).as_posix() for one in found]

    def table_of(self, set_name: str) -> str:
        """The table that a file is part of."""
        first, slash, _ = set_name.partition("/")
        return first if slash else first.removesuffix(".parquet")

    def columns(self, set_name: str) -> list[str]:
        """The columns in a file itself, in order."""
        with session(self.store) as conn:
            return _columns(conn, self._file(set_name))

    def count(self, set_name: str, rule: OwnedTable) -> int:
        """How many rows of a file are the tenant's."""
        with session(self.store) as conn:
            query = f"SELECT count(*) FROM {_rows(self._file(set_name))} WHERE {owned(rule.column)}"
            return int(str(fetch(conn, query, [sorted(rule.values)])[0][0]))

    def digests(self, set_name: str, rule: OwnedTable) -> Iterator[str]:
        """Digests of the tenant's rows, in order."""
        file = self._file(set_name)
        with session(self.store) as conn:
            query = f"SELECT {digest(_columns(conn, file))} AS d FROM {_rows(file)} WHERE {owned(rule.column)} ORDER BY d"
            rows = conn.execute(query, [sorted(rule.values)])
            while piece := rows.fetchmany(10_000):
                yield from (str(one) for (one,) in piece)

    def there(self, set_name: str, keys: tuple[bytes, ...]) -> Counter[str]:
        """How many rows there are with the digests of some keys, whoever they belong to."""
        file = self._file(set_name)
        if not file.exists():
            return Counter()
        with session(self.store) as conn:
            query = (
                f"SELECT d, count(*) FROM (SELECT {digest(_columns(conn, file))} AS d FROM {_rows(file)}) "
                "WHERE d IN (SELECT unnest(?::VARCHAR[])) GROUP BY d"
            )
            return Counter({str(d): int(str(n)) for d, n in fetch(conn, query, [list(wanted(keys))])})

    def delete(self, set_name: str, rule: OwnedTable, keys: tuple[bytes, ...]) -> int:
        """Write the file without the rows that the keys name and that still are the tenant's; returns how many.

        A file that then has no row goes as a whole. The new file takes the old one's place in one step.
        """
        file = self._file(set_name)
        if not file.exists():
            return 0
        counts, new = wanted(keys), file.with_name(file.name + NEW)
        with session(self.store) as conn:
            columns = _columns(conn, file)
            conn.execute(
                "CREATE TEMP TABLE tl_wanted AS SELECT unnest(?::VARCHAR[]) AS d, unnest(?::BIGINT[]) AS many",
                [list(counts), list(counts.values())],
            )
            conn.execute(
                f"CREATE TEMP TABLE tl_doomed AS SELECT place FROM (SELECT file_row_number AS place, {digest(columns)} AS d, "
                f"row_number() OVER (PARTITION BY {digest(columns)} ORDER BY file_row_number) AS n "
                f"FROM {_rows(file)} WHERE {owned(rule.column)}) JOIN tl_wanted USING (d) WHERE n <= many",
                [sorted(rule.values)],
            )
            ((doomed, total),) = fetch(
                conn, f"SELECT (SELECT count(*) FROM tl_doomed), (SELECT count(*) FROM {_rows(file)})"
            )  # fmt: skip
            if doomed == total:
                file.unlink()
            elif doomed:
                conn.execute(
                    f"COPY (SELECT {', '.join(map(name, columns))} FROM {_rows(file)} WHERE file_row_number NOT IN "
                    f"(SELECT place FROM tl_doomed) ORDER BY file_row_number) TO {literal(str(new))} "
                    f"({_as_before(conn, file)})"
                )
                _replace(file, new)
        return int(str(doomed))

    def plant(self, tenant: str, marker: str) -> int:
        """Put the marker into a file of ours, once; returns how many rows hold it."""
        file = self._file(PLANTED)
        old = (
            f"SELECT tenant, kind, body FROM read_parquet({literal(str(file))}) UNION "
            if file.exists()
            else ""
        )
        new = file.with_name(file.name + NEW)
        with session(self.store) as conn:
            conn.execute(
                "CREATE TEMP TABLE tl_planted AS SELECT ? AS tenant, unnest(['row', 'long']) AS kind, "
                "unnest(?::VARCHAR[]) AS body",
                [tenant, [marker, f"{'words ' * 3000}{marker}"]],
            )
            conn.execute(
                f"COPY ({old}SELECT tenant, kind, body FROM tl_planted) TO {literal(str(new))} (FORMAT parquet)"
            )
            new.replace(file)
        return 2

    def settle(self, sets: list[str]) -> tuple[list[str], list[str]]:
        """Files were written anew when rows were deleted; folders that are empty now, and leftovers, go."""
        for leftover in self.path.rglob(f"*{NEW}"):
            leftover.unlink(missing_ok=True)
        for folder in sorted((one for one in self.path.rglob("*") if one.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        return [f"{len(sets)} files are written anew or gone"] if sets else [], []

    def _file(self, set_name: str) -> Path:
        return self.path / set_name


def _rows(file: Path) -> str:
    """The rows of a file; a folder called ``tenant_id=007`` gives the text 007."""
    return (
        f"read_parquet({literal(_unglobbed(file))}, hive_partitioning = true, hive_types_autocast = false, "
        "file_row_number = true)"
    )


def _columns(conn: Session, file: Path) -> list[str]:
    query = f"DESCRIBE SELECT * FROM read_parquet({literal(_unglobbed(file))}, hive_partitioning = false)"
    return [str(row[0]) for row in fetch(conn, query)]


def _unglobbed(file: Path) -> str:
    """The path as a pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(file))


def _as_before(conn: Session, file: Path) -> str:
    """Options of COPY that keep how a file was written: codec, size of row groups, and its own metadata."""
    path = literal(_unglobbed(file))
    ((codec,),) = fetch(conn, f"SELECT mode(compression) FROM parquet_metadata({path})")
    ((rows,),) = fetch(conn, f"SELECT max(row_group_num_rows) FROM parquet_metadata({path})")
    metadata = fetch(conn, f"SELECT decode(key), decode(value) FROM parquet_kv_metadata({path})")
    options = [
        "FORMAT parquet",
        f"COMPRESSION {literal(str(codec).lower())}",
        f"ROW_GROUP_SIZE {max(int(str(rows or 1)), 2048)}",
    ]
    if metadata:
        pairs = ", ".join(f"{name(str(key))}: {literal(str(value))}" for key, value in metadata)
        options.append(f"KV_METADATA {{{pairs}}}")
    return ", ".join(options)


def _replace(file: Path, new: Path) -> None:
    shutil.copystat(file, new)
    owner = file.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.replace(file)
