"""The traps of analytics: ClickHouse through the engine of chdb, DuckDB, and the table formats that are not here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from bench.residue.eyes import (
    ERASING,
    MARKER,
    NEIGHBOUR,
    TENANT,
    THEIRS,
    about,
    bytes_in,
    erase,
    proceed,
    said,
    searched,
)
from bench.residue.trap import Seen, Trap
from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.tablemap import TableRule
from tenant_lifecycle.stores.clickhouse.settle import settle
from tenant_lifecycle.stores.registry import open_store

Pair = tuple[Seen, Seen]
BRIDGE = Path(__file__).parents[2] / "tests" / "clickhouse" / "bridge.py"
_HITS = "hits in files"
_CLICKHOUSE = "ClickHouse (engine of chdb)"


@dataclass
class Engine:
    """The engine behind its HTTP interface, and its files."""

    url: str
    client: Any
    size: int
    #: How long old parts are waited for that go by themselves, seconds.
    patience_s: float
    numbers: Iterator[int] = field(default_factory=count)

    def table(self, partition: str = "", lifetime_s: int = 1) -> str:
        """A new table with rows of both tenants, not compressed; old parts go after so many seconds."""
        name = f"w{next(self.numbers)}.events"
        self.client.command(f"CREATE DATABASE {name.partition('.')[0]}")
        self.client.command(
            f"CREATE TABLE {name} (id UInt64, tenant_id String, body String CODEC(NONE)) ENGINE = MergeTree "
            f"{partition} ORDER BY id SETTINGS old_parts_lifetime = {lifetime_s}"
        )
        self.client.command(
            f"INSERT INTO {name} SELECT number, if(number % 2, '{TENANT}', '{NEIGHBOUR}'), "
            f"if(number % 2, '{MARKER}', '{THEIRS}') FROM numbers({2 * self.size})"
        )
        return name

    def hits(self, table: str) -> int:
        """The marker in the table's files, each path counted."""
        (paths,) = self.client.query(
            f"SELECT data_paths FROM system.tables WHERE concat(database, '.', name) = '{table}'"
        ).result_rows[0]
        return sum(bytes_in(Path(one)) for one in paths)

    def erase(self, table: str, patience_s: float) -> list[str]:
        """Ours; what it says is left after so many seconds of waiting."""
        store: Any = open_store(
            "clickhouse", name="events", environment="blue",
            settings={"url": self.url, "database": table.partition(".")[0]},
            ownership=OwnershipMap(keys={"events": KeyMap(tables={table: TableRule("tenant_id")})}),
        )  # fmt: skip
        batches = list(store.doomed(TENANT, proceed))
        for batch in batches:
            store.erase(ERASING, batch, proceed)
        return said(settle(store.map, [one.set for one in batches], proceed, patience_s))


@contextmanager
def analytics(folder: Path, size: int, patience_s: float) -> Iterator[list[Trap]]:
    """All of them; those of ClickHouse are not run without chdb."""
    if find_spec("chdb") is None:
        yield [*_clickhouse(None), *_files(folder, size), *_absent()]
        return
    import clickhouse_connect

    program = [sys.executable, str(BRIDGE), str(folder / "chdb")]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            client = clickhouse_connect.get_client(dsn=url, compress=False, autogenerate_session_id=False)
            yield [*_clickhouse(Engine(url, client, size, patience_s)), *_files(folder, size), *_absent()]
        finally:
            process.kill()


def _clickhouse(engine: Engine | None) -> Iterator[Trap]:
    for code, what, naively, statement, partition, lifetime in (
        ("M16", "rows that a mask hides", "DELETE (lightweight)", "DELETE FROM {} WHERE tenant_id = 'acme'", "", 1),
        ("M17", "the part from before the mask was applied", "DELETE, APPLY DELETED MASK",
         "DELETE FROM {0} WHERE tenant_id = 'acme'; ALTER TABLE {0} APPLY DELETED MASK", "", 1),
        ("M18", "old parts, kept for 480 s as is the default", "ALTER ... DELETE, waited for",
         "ALTER TABLE {} DELETE WHERE tenant_id = 'acme' SETTINGS mutations_sync = 2", "", 480),
        ("M19", "a partition of the tenant's own", "DROP PARTITION", "ALTER TABLE {} DROP PARTITION 'acme'",
         "PARTITION BY tenant_id", 1),
    ):  # fmt: skip
        measure = None if engine is None else partial(_parts, engine, statement, partition, lifetime)
        yield Trap(code, _CLICKHOUSE, what, naively, measure, "chdb is not installed here (extra `chdb`)")


def _parts(engine: Engine, statements: str, partition: str, lifetime_s: int) -> Pair:
    here, there = engine.table(partition, lifetime_s), engine.table(partition, lifetime_s)
    for statement in statements.split("; "):
        engine.client.command(statement.format(here))
    naive = engine.hits(here)
    told = engine.erase(there, engine.patience_s if lifetime_s == 1 else 1.0)
    return Seen(naive, _HITS), Seen(engine.hits(there), _HITS, about(told, "old parts"))


def _files(folder: Path, size: int) -> Iterator[Trap]:
    yield Trap("M22", "DuckDB", "bytes of deleted rows in the file", "DELETE, CHECKPOINT, VACUUM",
               partial(_deleted, folder, size))  # fmt: skip
    yield Trap("2.7a", "DuckDB", "an older copy of the file beside it", "DELETE, CHECKPOINT, VACUUM",
               partial(_copied, folder, size))  # fmt: skip


def _absent() -> Iterator[Trap]:
    for code, system, what in (
        ("M20", "Delta Lake", "old files, and values as statistics in the log"),
        ("M21", "Iceberg", "data files that expired snapshots leave"),
    ):
        yield Trap(code, system, what, "DELETE, VACUUM", None, "we have no store of this kind")


def _warehouse(folder: Path, size: int, name: str) -> Path:
    path = folder / name / "warehouse.duckdb"
    path.parent.mkdir()
    with duckdb.connect(str(path)) as conn:
        conn.execute(
            "CREATE TABLE events AS SELECT CASE WHEN i % 2 THEN $t ELSE $o END AS tenant_id, "
            "md5(i::VARCHAR) || ' ' || CASE WHEN i % 2 THEN $m ELSE $n END AS body FROM range($size) r(i)",
            {"t": TENANT, "o": NEIGHBOUR, "m": MARKER, "n": THEIRS, "size": 2 * size},
        )
    return path


def _naively(path: Path) -> None:
    with duckdb.connect(str(path)) as conn:
        conn.execute(f"DELETE FROM events WHERE tenant_id = '{TENANT}'; CHECKPOINT; VACUUM")


def _store(path: Path) -> Any:
    rules = KeyMap(tables={"main.events": TableRule("tenant_id")})
    return open_store(
        "duckdb", name="warehouse", environment="blue", settings={"path": str(path)},
        ownership=OwnershipMap(keys={"warehouse": rules}),
    )  # fmt: skip


def _deleted(folder: Path, size: int) -> Pair:
    here, there = _warehouse(folder, size, "naive"), _warehouse(folder, size, "ours")
    _naively(here)
    told = erase(_store(there))
    return Seen(bytes_in(here), _HITS), Seen(bytes_in(there), _HITS, about(told, "events"))


def _copied(folder: Path, size: int) -> Pair:
    path = _warehouse(folder, size, "copied")
    copy = path.with_name("warehouse.duckdb.bak")
    copy.write_bytes(path.read_bytes())
    _naively(path)
    left = bytes_in(copy)
    return Seen(left, _HITS), Seen(left, _HITS, about(searched(_store(path), copy.name), copy.name))
