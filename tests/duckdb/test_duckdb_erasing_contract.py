"""DuckDB files and folders of Parquet files keep the contract of erasing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import duckdb
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.tablemap import TableRule
from tenant_lifecycle.stores.duckdb.store import DuckDBStore
from tenant_lifecycle.testing.erasing_contract import ErasingContract

RULES = KeyMap(tables={"main.docs": TableRule("tenant_id"), "docs": TableRule("tenant_id")})


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.eraser, self.verifier = self.replaced_eraser(), self.replaced_eraser()
        self.traps: Mapping[str, Callable[[bytes], None]] = {
            "an undeclared table": self._undeclared,
            "a file beside it": self._beside,
        }

    def replaced_eraser(self) -> DuckDBStore:
        return DuckDBStore("blue/warehouse", "blue", self.path, RULES, lambda _: TenantIds())

    def blinded(self) -> DuckDBStore:
        """A system of which this process can read nothing."""
        return DuckDBStore(
            "blue/warehouse", "blue", self.path.parent / "not-there", RULES, lambda _: TenantIds()
        )


class FileBench(Bench):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._run("CREATE TABLE docs (tenant_id VARCHAR, item VARCHAR, body VARCHAR)")

    def put(self, tenant: str, item: str, content: str) -> None:
        self._run("INSERT INTO docs VALUES (?, ?, ?)", [tenant, item, content])

    def content(self, tenant: str, item: str) -> str | None:
        found = self._run("SELECT body FROM docs WHERE tenant_id = ? AND item = ?", [tenant, item])
        return str(found[0][0]) if found else None

    def _undeclared(self, text: bytes) -> None:
        self._run("CREATE TABLE IF NOT EXISTS scratch (x BLOB)")
        self._run("INSERT INTO scratch VALUES (?)", [text])

    def _beside(self, text: bytes) -> None:
        self.path.with_name(self.path.name + ".bak").write_bytes(text)

    def _run(self, statement: str, values: list[object] | None = None) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.path)) as conn:
            return conn.execute(statement, values).fetchall()


class FolderBench(Bench):
    def __init__(self, path: Path) -> None:
        path.mkdir()
        super().__init__(path)
        self._number = 0

    def put(self, tenant: str, item: str, content: str) -> None:
        (self.path / "docs").mkdir(exist_ok=True)
        self._number += 1
        with duckdb.connect() as conn:
            rows = conn.sql(
                "SELECT $t AS tenant_id, $i AS item, $c AS body",
                params={"t": tenant, "i": item, "c": content},
            )
            rows.write_parquet(str(self.path / "docs" / f"{self._number}.parquet"))

    def content(self, tenant: str, item: str) -> str | None:
        with duckdb.connect() as conn, contextlib.suppress(duckdb.IOException):
            found = conn.execute(
                "SELECT body FROM read_parquet(?) WHERE tenant_id = ? AND item = ?",
                [str(self.path / "docs" / "*.parquet"), tenant, item],
            ).fetchone()
            return str(found[0]) if found else None
        return None

    def _undeclared(self, text: bytes) -> None:
        with duckdb.connect() as conn:
            conn.sql("SELECT $x::BLOB AS x", params={"x": text}).write_parquet(
                str(self.path / "scratch.parquet")
            )

    def _beside(self, text: bytes) -> None:
        (self.path / "export.csv").write_bytes(text)


class TestDuckDBFile(ErasingContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> FileBench:
        return FileBench(tmp_path / "w.duckdb")


class TestParquetFolder(ErasingContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> FolderBench:
        return FolderBench(tmp_path / "w")
