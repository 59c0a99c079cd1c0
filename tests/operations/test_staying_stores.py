"""Stores that a move leaves alone: declared, shown in the plan, and refused when nobody declared them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenant_lifecycle.config import loads
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.operations.pairs import pair_up
from tenant_lifecycle.stores.base import Stays
from tenant_lifecycle.stores.duckdb.store import DuckDBStore
from tenant_lifecycle.testing.memory import MemoryServer, MemoryStore

CONFIG = """
version: 1
environments:
  blue: {stores: {warehouse: {kind: duckdb, path: w.duckdb, moves: MOVES}, rows: {kind: postgres, dsn: x, wal_archive_days: 14}}}
"""


def warehouse(*, moves: bool) -> DuckDBStore:
    return DuckDBStore(
        "blue/warehouse", "blue", Path("nowhere"), KeyMap(), lambda _: TenantIds(), moves=moves
    )


def memory(environment: str) -> MemoryStore:
    return MemoryStore(MemoryServer(), environment, "rows", KeyMap())


def test_a_store_that_stays_needs_no_counterpart() -> None:
    stays = warehouse(moves=False)
    assert isinstance(stays, Stays)
    pair = pair_up(
        "blue",
        "green",
        {"blue": {"rows": memory("blue"), "warehouse": stays}, "green": {"rows": memory("green")}},
    )
    assert [one.name for one in pair.stores] == ["rows"] and pair.staying == (stays,)
    assert pair.reversed().staying == (stays,)


def test_a_store_that_cannot_move_has_to_be_declared() -> None:
    with pytest.raises(ConfigError, match="cannot be moved") as refused:
        pair_up("blue", "green", {"blue": {"warehouse": warehouse(moves=True)}, "green": {}})
    assert "moves: false" in refused.value.next_step


def test_the_file_says_it_without_quotes() -> None:
    stores = loads(CONFIG.replace("MOVES", "false"), Path("lifecycle.yaml")).environments["blue"]
    assert stores["warehouse"].settings["moves"] == "false"
    assert stores["rows"].settings["wal_archive_days"] == "14"
    with pytest.raises(ConfigError):
        loads(CONFIG.replace("MOVES", "sometimes"), Path("lifecycle.yaml"))
