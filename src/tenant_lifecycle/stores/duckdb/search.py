"""The verifier's eyes on analytics: every table, name, comment and definition, and every file beside them.

Reads whole tables and whole files; no identifier is in any question. Rows are read as text, binary columns as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.duckdb.opening import Session, fetch, session
from tenant_lifecycle.stores.duckdb.quoting import literal, name
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally

#: Bytes of a file that are looked through at once, and how much of the end is looked at again.
BLOCK, OVERLAP = 32 << 20, 8 << 10
_PIECE = 5_000
CATALOGUE = "catalogue"

_RELATIONS = """
SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND database_name = current_database() ORDER BY 1, 2
"""
_TEXTS = {
    "table": "SELECT concat_ws(' ', sql, comment, tags::VARCHAR) FROM duckdb_tables() WHERE NOT internal",
    "column": "SELECT concat_ws(' ', column_name, comment, column_default) FROM duckdb_columns() WHERE NOT internal",
    "view": "SELECT concat_ws(' ', sql, comment, tags::VARCHAR) FROM duckdb_views() WHERE NOT internal",
    "index": "SELECT concat_ws(' ', sql, comment) FROM duckdb_indexes()",
    "sequence": "SELECT concat_ws(' ', sql, comment) FROM duckdb_sequences()",
    "schema": "SELECT concat_ws(' ', schema_name, comment) FROM duckdb_schemas() WHERE NOT internal",
    "type": "SELECT concat_ws(' ', type_name, labels::VARCHAR, comment) FROM duckdb_types() WHERE NOT internal",
    "macro": "SELECT concat_ws(' ', function_name, macro_definition, comment) FROM duckdb_functions() WHERE NOT internal",
}


class FileEyes:
    """Sees a database file and everything beside it whose name begins like its own."""

    def __init__(self, store: str, path: Path, declared: frozenset[str]) -> None:
        self._store, self._path, self._declared = store, path, declared

    def places(self) -> list[Place]:
        places = [Place(f"file {one.name}", True, one.stat().st_size) for one in self._files()]
        if not self._path.exists():
            return places
        with session(self._store, str(self._path), read_only=True) as conn:
            tables = [f"{schema}.{table}" for schema, table in fetch(conn, _RELATIONS)]
        return [Place(CATALOGUE, True), *(Place(one, one in self._declared) for one in tables), *places]

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        tally = Tally(place.name, found)
        try:
            if place.name.startswith("file "):
                for one in self._files():
                    if place.name == f"file {one.name}":
                        search_file(tally, one, check, tally.look_at_pages)
                return tally.looked()
            with session(self._store, str(self._path), read_only=True) as conn:
                if place.name == CATALOGUE:
                    _search_texts(tally, conn)
                else:
                    schema, _, table = place.name.partition(".")
                    proposal = "" if place.declared else f"{place.name}: {{column: tenant_id}}"
                    search_rows(tally, conn, f"{name(schema)}.{name(table)}", proposal, check)
        except duckdb.Error as exc:
            tally.could_not_read(f"{place.name}: {type(exc).__name__}")
        return tally.looked()

    def _files(self) -> Iterator[Path]:
        """The file, its log, and copies that somebody laid beside it."""
        stem = self._path.name
        yield from (
            one for one in sorted(self._path.parent.iterdir()) if one.is_file() and one.name.startswith(stem)
        )


class FolderEyes:
    """Sees every file of a folder, of whatever kind: Parquet row by row, others as bytes, and all their names."""

    def __init__(self, store: str, path: Path, declared: frozenset[str]) -> None:
        self._store, self._path, self._declared = store, path, declared

    def places(self) -> list[Place]:
        files = [one for one in sorted(self._path.rglob("*")) if one.is_file()]
        return [Place(CATALOGUE, True), *(self._place(one) for one in files)]

    def _place(self, file: Path) -> Place:
        inside = file.relative_to(self._path)
        table = inside.parts[0] if len(inside.parts) > 1 else inside.name.removesuffix(".parquet")
        return Place(
            inside.as_posix(), table in self._declared and file.suffix == ".parquet", file.stat().st_size
        )

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        tally = Tally(place.name, found)
        if place.name == CATALOGUE:
            tally.look_through([(f"name of file {n}", one.encode()) for n, one in enumerate(self._names())])
            return tally.looked()
        file = self._path / place.name
        try:
            if file.suffix == ".parquet":
                self._search_parquet(tally, file, place, check)
            else:
                search_file(tally, file, check, tally.look)
        except duckdb.Error as exc:
            tally.could_not_read(f"{place.name}: {type(exc).__name__}")
        except OSError as exc:
            tally.could_not_read(f"{place.name}: {exc.strerror}")
        return tally.looked()

    def _search_parquet(self, tally: Tally, file: Path, place: Place, check: Check) -> None:
        path = literal("".join(f"[{c}]" if c in "*?[" else c for c in str(file)))
        table = place.name.partition("/")[0]
        proposal = "" if place.declared else f"{table.removesuffix('.parquet')}: {{column: tenant_id}}"
        with session(self._store) as conn:
            search_rows(tally, conn, f"read_parquet({path}, hive_partitioning = false)", proposal, check)
            for key, value in fetch(conn, f"SELECT key, value FROM parquet_kv_metadata({path})"):
                tally.look("metadata of the file", bytes(_bytes(key)) + b" " + bytes(_bytes(value)))

    def _names(self) -> Iterator[str]:
        yield from (one.relative_to(self._path).as_posix() for one in sorted(self._path.rglob("*")))


def search_rows(tally: Tally, conn: Session, source: str, proposal: str, check: Check) -> None:
    """Every row of a table or Parquet file."""
    described = fetch(conn, f"DESCRIBE SELECT * FROM {source}")
    values = ", ".join(
        f"{name(str(row[0]))}" if row[1] == "BLOB" else f"CAST({name(str(row[0]))} AS VARCHAR)"
        for row in described
    )
    names = [str(row[0]) for row in described]
    rows = conn.execute(f"SELECT {values} FROM {source}")
    first = 1
    while piece := rows.fetchmany(_PIECE):
        check()
        tally.look_through(
            [(f"row {first + n}", b"\0".join(map(_bytes, row))) for n, row in enumerate(piece)], proposal
        )
        for number, row in enumerate(piece, first):
            for column, value in zip(names, row, strict=True):
                if isinstance(value, bytes):
                    # A packed value is recognised only by itself.
                    tally.note(
                        f"row {number}, column {column}",
                        [m for m in tally.found(value) if ">" in m.encoding],
                        proposal,
                    )
        first += len(piece)


def search_file(tally: Tally, file: Path, check: Check, look: Callable[[str, bytes], None]) -> None:
    """The bytes of a file, in pieces that overlap; a database's tables are read by queries as well."""
    end = b""
    with file.open("rb") as stream:
        while piece := stream.read(BLOCK):
            check()
            look(f"file {file.name}", end + piece)
            end = piece[-OVERLAP:]
    tally.items += 1


def _search_texts(tally: Tally, conn: Session) -> None:
    for what, query in _TEXTS.items():
        rows = [(what, str(text).encode()) for (text,) in fetch(conn, query) if text]
        if rows:
            tally.look_through(rows)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode()
