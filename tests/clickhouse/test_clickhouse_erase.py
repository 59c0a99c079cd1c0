"""Erasing a tenant from ClickHouse, spoken to over HTTP by the real client; behind it is the engine of chdb.

The engine, its dialect and its files are real; users, replicas and a server's own logs are not there.
Install it with the extra ``chdb``; without it these tests are skipped.
"""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import pytest

from tenant_lifecycle.errors import ConfigError, StoreUnavailable
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.tablemap import TableRule
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.clickhouse.erase import OWNER_CHANGED
from tenant_lifecycle.stores.clickhouse.server import Server
from tenant_lifecycle.stores.clickhouse.settle import settle
from tenant_lifecycle.stores.clickhouse.store import ClickHouseStore
from tenant_lifecycle.stores.erasing import Erases, Erasing, Match, Plants, Searches, Whose

pytestmark = pytest.mark.skipif(importlib.util.find_spec("chdb") is None, reason="needs the extra chdb")
A, B = TenantId("acme"), TenantId("acme2")
NUMBERS = itertools.count()


def nothing() -> None:
    """A check that never objects."""


def found(*texts: str, control: str | None = None) -> Callable[[bytes], list[Match]]:
    def look(data: bytes) -> list[Match]:
        matches = [
            Match(Whose.TENANT, f"id/{n}", "plain") for n, one in enumerate(texts) if one.encode() in data
        ]
        if control is not None and control.encode() in data:
            matches.append(Match(Whose.CONTROL, "control", "plain"))
        return matches

    return look


def erasing(tenant: str = A) -> Erasing:
    return Erasing("erase_test", TenantId(tenant), 1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and folder of an engine of this module's own."""
    folder = tmp_path_factory.mktemp("chdb")
    program = [sys.executable, str(Path(__file__).with_name("bridge.py")), str(folder)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", folder
        process.kill()


@pytest.fixture
def client(engine: tuple[str, Path]) -> Iterator[clickhouse_connect.driver.client.Client]:
    client = clickhouse_connect.get_client(dsn=engine[0], compress=False, autogenerate_session_id=False)
    yield client
    client.close()


@pytest.fixture
def make(
    engine: tuple[str, Path], client: clickhouse_connect.driver.client.Client
) -> Iterator[Callable[..., ClickHouseStore]]:
    """``make("acme")``: a database of the test's own, with a table of each shape."""
    made: list[str] = []

    def build(tenant: str = A, rules: dict[str, TableRule] | None = None) -> ClickHouseStore:
        name = f"w{next(NUMBERS)}"
        made.append(name)
        client.command(f"CREATE DATABASE {name}")
        columns = "(id UInt64, tenant_id String, body String) ENGINE = MergeTree ORDER BY id"
        client.command(
            f"CREATE TABLE {name}.parted {columns} PARTITION BY tenant_id SETTINGS old_parts_lifetime = 1"
        )
        client.command(
            f"CREATE TABLE {name}.mixed {columns} PARTITION BY id % 2 SETTINGS old_parts_lifetime = 1"
        )
        client.command(
            f"CREATE TABLE {name}.pages (project String) ENGINE = ReplacingMergeTree ORDER BY project"
        )
        client.command(f"CREATE TABLE {name}.calendar (day Date) ENGINE = Memory")
        client.command(f"CREATE VIEW {name}.v AS SELECT * FROM {name}.mixed")
        for table in ("parted", "mixed"):
            client.command(
                f"INSERT INTO {name}.{table} SELECT number, if(intDiv(number, 2) % 2 = 0, {{t:String}}, {{o:String}}) AS who, "
                "concat('mark<', who, '>', repeat('z', 100)) FROM numbers(400)",
                parameters={"t": tenant, "o": f"{tenant}2"},
            )
        client.command(
            f"INSERT INTO {name}.pages SELECT arrayJoin([concat({{t:String}}, '-p'), concat({{t:String}}, '2-p')])",
            parameters={"t": tenant},
        )
        tables = {
            f"{name}.parted": TableRule("tenant_id"),
            f"{name}.mixed": TableRule("tenant_id"),
            f"{name}.pages": TableRule("project", "project"),
        }
        key_map = KeyMap(tables=rules or tables, globals=(Template.parse(f"{name}.calendar"),))
        server = Server("blue/events", engine[0], name)
        return ClickHouseStore(
            server, "blue", key_map, lambda t: TenantIds({"project": frozenset({f"{t}-p"})})
        )

    yield build
    for name in made:
        client.command(f"DROP DATABASE {name} SYNC")


def contents(
    client: clickhouse_connect.driver.client.Client, store: ClickHouseStore, tenant: str
) -> list[object]:
    name = store.map.server.database
    return [
        client.query(
            f"SELECT count(), sum(sipHash64(tuple(*))) FROM {name}.{table} WHERE {column} = {{t:String}}",
            parameters={"t": tenant + suffix},
        ).result_rows[0]
        for table, column, suffix in (
            ("parted", "tenant_id", ""),
            ("mixed", "tenant_id", ""),
            ("pages", "project", "-p"),
        )
    ]


def hits(store: ClickHouseStore, text: str) -> dict[str, int]:
    name = store.map.server.database
    looks = {
        one.name: store.search(one, found(text), nothing)
        for one in store.places()
        if one.name.startswith((f"{name}.", "tenant_lifecycle."))
    }
    assert not [one.unread for one in looks.values() if one.unread]
    return {place: one.hit_count for place, one in looks.items() if one.hit_count}


def test_it_has_the_abilities(make: Callable[..., ClickHouseStore]) -> None:
    store = make()
    for ability in (Store, Erases, Searches, Plants):
        assert isinstance(store, ability)


@pytest.mark.parametrize(
    "tenant", ["acme", "x'; DROP TABLE mixed; --", "*", "a\\b\n{c:String}", "租户 🙂", "%", "`"]
)
def test_all_of_the_tenant_goes_and_the_neighbour_stays(
    make: Callable[..., ClickHouseStore], client: clickhouse_connect.driver.client.Client, tenant: str
) -> None:
    store = make(tenant)
    neighbour = contents(client, store, f"{tenant}2")
    assert {
        f.code for f in store.erasure_findings(TenantId(tenant)) if f.severity is Severity.REFUSAL
    } == set()
    assert sum(one.items for one in store.inventory(TenantId(tenant))) == 401
    manifest = list(store.doomed(TenantId(tenant), nothing))
    name = store.map.server.database
    assert {b.set: b.method for b in manifest} == {
        f"{name}.parted": Method.DROP, f"{name}.mixed": Method.REWRITE, f"{name}.pages": Method.REWRITE
    }  # fmt: skip
    for batch in manifest:
        assert store.remaining(TenantId(tenant), batch, nothing) == frozenset(batch.keys)
        assert store.erase(erasing(tenant), batch, nothing).deleted == len(batch.keys)
        again = store.erase(erasing(tenant), batch, nothing)
        assert (again.deleted, again.gone) == (0, len(batch.keys))
        assert store.remaining(TenantId(tenant), batch, nothing) == frozenset()
    assert [count for count, _ in contents(client, store, tenant)] == [0, 0, 0]
    assert contents(client, store, f"{tenant}2") == neighbour


def test_no_text_of_a_mutation_names_the_tenant(
    make: Callable[..., ClickHouseStore], client: clickhouse_connect.driver.client.Client
) -> None:
    store = make("somebody-nameable")
    for batch in list(store.doomed(TenantId("somebody-nameable"), nothing)):
        store.erase(erasing("somebody-nameable"), batch, nothing)
    commands = [str(one) for (one,) in client.query("SELECT command FROM system.mutations").result_rows]
    assert commands and not [one for one in commands if "somebody-nameable" in one]


def test_m16_rows_that_a_lightweight_delete_only_hid_are_found_and_go(
    make: Callable[..., ClickHouseStore], client: clickhouse_connect.driver.client.Client
) -> None:
    store = make()
    name = store.map.server.database
    client.command(f"DELETE FROM {name}.mixed WHERE tenant_id = 'acme'")
    assert client.query(f"SELECT count() FROM {name}.mixed WHERE tenant_id = 'acme'").result_rows == [(0,)]
    assert f"{name}.mixed" in hits(store, "mark<acme>")
    for batch in list(store.doomed(A, nothing)):
        store.erase(erasing(), batch, nothing)
    store.settle(erasing(), [f"{name}.mixed"], nothing)
    assert f"{name}.mixed" not in hits(store, "mark<acme>")


def test_m17_m18_m19_old_parts_are_waited_for_or_named(
    engine: tuple[str, Path],
    make: Callable[..., ClickHouseStore],
    client: clickhouse_connect.driver.client.Client,
) -> None:
    store = make()
    name = store.map.server.database
    client.command(f"ALTER TABLE {name}.mixed MODIFY SETTING old_parts_lifetime = 600")
    sets = [
        batch.set
        for batch in list(store.doomed(A, nothing))
        if store.erase(erasing(), batch, nothing).deleted
    ]
    left = settle(store.map, sets, nothing, patience_s=0.5).left
    assert [one for one in left if one.startswith(f"{name}.mixed: 2 old parts")]
    assert not [one for one in left if one.startswith(f"{name}.parted:")]  # dropped partitions leave none


def test_a_slice_that_became_somebody_elses_is_not_deleted(
    make: Callable[..., ClickHouseStore], client: clickhouse_connect.driver.client.Client
) -> None:
    store = make()
    (pages,) = [batch for batch in store.doomed(A, nothing) if batch.set.endswith(".pages")]
    moved = ClickHouseStore(
        store.map.server, "blue", store.map.rules, lambda _: TenantIds({"project": frozenset({"other"})})
    )
    erased = moved.erase(erasing(), pages, nothing)
    assert erased.deleted == 0 and [one.code for one in erased.refused] == [OWNER_CHANGED]


def test_markers_are_found_before_and_not_after(make: Callable[..., ClickHouseStore]) -> None:
    store = make()
    store.plant(erasing(), "canary-1")
    store.plant(erasing(), "canary-1")
    store.plant(erasing("zeta"), "canary-2")
    assert hits(store, "canary-1") == {"tenant_lifecycle.planted": 1}
    for batch in list(store.doomed(A, nothing)):
        store.erase(erasing(), batch, nothing)
    assert hits(store, "canary-1") == {} and hits(store, "canary-2")


def test_what_nobody_declared_is_found_and_refused(
    make: Callable[..., ClickHouseStore], client: clickhouse_connect.driver.client.Client
) -> None:
    store = make()
    name = store.map.server.database
    client.command(f"CREATE TABLE {name}.shadow (x Array(String)) ENGINE = Log")
    client.command(f"INSERT INTO {name}.shadow SELECT ['hidden-1']")
    client.command(f"ALTER TABLE {name}.calendar COMMENT COLUMN day 'hidden-1'")
    assert hits(store, "hidden-1") == {f"{name}.shadow": 1}
    (place,) = [one for one in store.places() if one.name == f"{name}.shadow"]
    assert store.search(place, found("hidden-1"), nothing).hits[0].proposal.startswith(place.name)
    (catalogue,) = [one for one in store.places() if one.name == "catalogue"]
    assert store.search(catalogue, found("hidden-1"), nothing).hit_count
    codes = {f.code for f in store.erasure_findings(A) if f.severity is Severity.REFUSAL}
    assert codes == {"clickhouse.unmapped"}


def test_the_control_is_found(make: Callable[..., ClickHouseStore]) -> None:
    store = make()
    (place,) = [
        one
        for one in store.places()
        if one.name.endswith(".mixed") and one.name.startswith(store.map.server.database)
    ]
    looked = store.search(place, found("nobody", control="mark<acme2>"), nothing)
    assert looked.control_found and not looked.hit_count and looked.items == 400


def test_an_engine_that_cannot_delete_and_a_missing_column_are_refused(
    make: Callable[..., ClickHouseStore],
) -> None:
    store = make()
    name = store.map.server.database
    rules = KeyMap(
        tables={
            **store.map.rules.tables,
            f"{name}.calendar": TableRule("day"),
            f"{name}.mixed": TableRule("tenant"),
        }
    )
    other = ClickHouseStore(store.map.server, "blue", rules, store.map.ids)
    assert {f.code for f in other.erasure_findings(A) if f.severity is Severity.REFUSAL} == {
        "clickhouse.engine", "clickhouse.column"
    }  # fmt: skip


def test_a_server_that_is_down_is_told_and_never_clean(make: Callable[..., ClickHouseStore]) -> None:
    store = make()
    place = store.places()[0]
    gone = ClickHouseStore(
        Server("blue/events", "http://127.0.0.1:1", "w"), "blue", KeyMap(), lambda _: TenantIds()
    )
    assert [f.code for f in gone.erasure_findings(A)] == ["clickhouse.reachable"]
    assert gone.search(place, found("x"), nothing).unread
    with pytest.raises(StoreUnavailable) as down:
        list(gone.doomed(A, nothing))
    assert down.value.retryable


def test_settings_that_mean_nothing_are_refused() -> None:
    for settings in ({}, {"url": "tcp://x"}, {"url": "http://x", "moves": "maybe"}):
        with pytest.raises(ConfigError):
            ClickHouseStore.from_config(
                name="events",
                environment="blue",
                settings=settings,
                ownership=OwnershipMap(),
                ids=lambda _: TenantIds(),
            )
