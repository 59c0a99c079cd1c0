"""Erasing a tenant from a DuckDB file and from a folder of Parquet files, and searching for what is left."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import duckdb
from tenant_lifecycle.errors import ConfigError, StoreBusy
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.tablemap import TableRule
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.duckdb.rows import OWNER_CHANGED
from tenant_lifecycle.stores.duckdb.store import DuckDBStore
from tenant_lifecycle.stores.erasing import Erases, Erasing, Match, Plants, Searches, Whose

HOSTILE = ["acme", "x'; DROP TABLE events; --", "*", "a/b\n{c}", 'quote"', "租户 🙂", "?", "[a]"]


def marker(tenant: str) -> str:
    return f"mark<{tenant}>"


def nothing() -> None:
    """A check that never objects."""


def ids(tenant: str) -> TenantIds:
    return TenantIds({"project": frozenset({f"{tenant}-p1", f"{tenant}-p2"})})


def found(*texts: str, control: str | None = None) -> Callable[[bytes], list[Match]]:
    def look(data: bytes) -> list[Match]:
        matches = [
            Match(Whose.TENANT, f"id/{n}", "plain") for n, one in enumerate(texts) if one.encode() in data
        ]
        if control is not None and control.encode() in data:
            matches.append(Match(Whose.CONTROL, "control", "plain"))
        if data.startswith(b"\x1f\x8b"):
            matches += [Match(m.whose, m.identifier, "gzip>plain") for m in look(gzip.decompress(data))]
        return matches

    return look


def erasing(tenant: str) -> Erasing:
    return Erasing("erase_test", TenantId(tenant), 1)


RULES = KeyMap(
    tables={
        "main.events": TableRule("tenant_id"),
        "main.pages": TableRule("project", "project"),
        "events": TableRule("tenant_id"),
        "pages": TableRule("project", "project"),
    },
    globals=(Template.parse("main.calendar"), Template.parse("calendar")),
)
EVENTS = (
    "SELECT i AS id, CASE WHEN i % 2 = 0 THEN $t ELSE $o END AS tenant_id, "
    "'mark<' || CASE WHEN i % 2 = 0 THEN $t ELSE $o END || '>' || i AS body, [1, 2] AS l, CAST('x' AS BLOB) AS b, "
    "CASE WHEN i > 190 THEN NULL ELSE 1.5 END AS n FROM range(200) r(i)"
)
PAGES = "SELECT t || '-p' || (i % 3) AS project, 'same' AS body FROM range(9) r(i), (VALUES ($t), ($o)) v(t)"


@pytest.fixture(params=["file", "folder"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., DuckDBStore]:
    """``make("acme")``: a store with rows of the tenant and of one whose id begins like its own."""

    def build(tenant: str = "acme") -> DuckDBStore:
        both = {"t": tenant, "o": f"{tenant}2"}
        if request.param == "file":
            path = tmp_path / "warehouse.duckdb"
            with duckdb.connect(str(path)) as conn:
                conn.execute(f"CREATE TABLE events AS {EVENTS}", both)
                conn.execute(f"CREATE TABLE pages AS {PAGES}", both)
                conn.execute(
                    "CREATE TABLE calendar AS SELECT 1 AS day; CREATE VIEW v AS SELECT * FROM events"
                )
                conn.execute("CREATE INDEX i ON events (id); CREATE SEQUENCE s START 5")
        else:
            path = tmp_path / "warehouse"
            (path / "events" / "region=eu").mkdir(parents=True)
            with duckdb.connect() as conn:
                for name, query in (
                    ("events/region=eu/1", EVENTS),
                    ("pages", PAGES),
                    ("calendar", "SELECT $t = $o AS day"),
                ):
                    table = conn.sql(query, params=both)
                    table.write_parquet(str(path / f"{name}.parquet"), compression="zstd")
        return DuckDBStore("blue/warehouse", "blue", path, RULES, ids)

    return build


def rows_of(store: DuckDBStore, tenant: str) -> list[str]:
    """Rows of a tenant, as text, in order."""
    events, pages = "events", "pages"
    path = str(store.path)
    if store.path.is_dir():
        escaped = "".join(f"[{c}]" if c in "*?[" else c for c in path)
        events = f"read_parquet('{escaped}/events/*/*.parquet', hive_partitioning = false)"
        pages = f"read_parquet('{escaped}/pages.parquet')"
        path = ":memory:"
    with duckdb.connect(path, read_only=not store.path.is_dir()) as conn:
        found_ = conn.execute(
            f"SELECT CAST(e AS VARCHAR) FROM {events} e WHERE tenant_id = ? ORDER BY 1", [tenant]
        ).fetchall()
        found_ += conn.execute(
            f"SELECT CAST(p AS VARCHAR) FROM {pages} p WHERE project IN (?, ?) ORDER BY 1",
            sorted(ids(tenant).sets["project"]),
        ).fetchall()
    return [str(one) for (one,) in found_]


def hits(store: DuckDBStore, *texts: str) -> dict[str, int]:
    looked = {place.name: store.search(place, found(*texts), nothing) for place in store.places()}
    assert not [one.unread for one in looked.values() if one.unread]
    return {name: one.hit_count for name, one in looked.items() if one.hit_count}


def test_it_has_the_abilities(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    for ability in (Store, Erases, Searches, Plants):
        assert isinstance(store, ability)


@pytest.mark.parametrize("tenant", HOSTILE)
def test_all_of_the_tenants_rows_go_and_the_neighbours_stay(
    make: Callable[..., DuckDBStore], tenant: str
) -> None:
    store = make(tenant)
    neighbour = rows_of(store, f"{tenant}2")
    assert len(rows_of(store, tenant)) == 106 and neighbour
    assert [f.code for f in store.erasure_findings(TenantId(tenant)) if f.severity is Severity.REFUSAL] == []
    manifest = list(store.doomed(TenantId(tenant), nothing))
    assert (
        sum(len(batch.keys) for batch in manifest)
        == 106
        == sum(s.items for s in store.inventory(TenantId(tenant)))
    )
    assert {batch.method for batch in manifest} == {Method.REWRITE if store.path.is_dir() else Method.DELETE}
    for batch in manifest:
        assert store.remaining(TenantId(tenant), batch, nothing) == frozenset(batch.keys)
        erased = store.erase(erasing(tenant), batch, nothing)
        assert (erased.deleted, erased.gone, erased.refused) == (len(batch.keys), 0, ())
        again = store.erase(erasing(tenant), batch, nothing)
        assert (again.deleted, again.gone) == (0, len(batch.keys))
        assert store.remaining(TenantId(tenant), batch, nothing) == frozenset()
    assert store.settle(erasing(tenant), [batch.set for batch in manifest], nothing).left == ()
    assert rows_of(store, tenant) == [] and rows_of(store, f"{tenant}2") == neighbour
    assert not list(store.path.parent.rglob("*tenant-lifecycle-new"))


@pytest.mark.parametrize("batch_keys", [1, 7])
def test_batches_share_equal_rows_between_them(make: Callable[..., DuckDBStore], batch_keys: int) -> None:
    store = make()
    manifest = [b for b in store.rows.doomed(TenantId("acme"), nothing, batch_keys) if "pages" in b.set]
    assert sum(store.erase(erasing("acme"), batch, nothing).deleted for batch in manifest) == 6
    assert not [one for one in rows_of(store, "acme") if "-p" in one]


def test_m22_bytes_of_deleted_rows_are_gone_after_settling(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as conn:
        conn.execute("CREATE TABLE events AS SELECT CASE WHEN i < 50 THEN 'acme' ELSE 'zeta' END AS tenant_id, "
                     "md5(i::VARCHAR) || CASE WHEN i < 50 THEN 'mark<acme>' ELSE 'mark<zeta>' END AS body FROM range(100) r(i)")  # fmt: skip
    assert b"mark<acme>" in path.read_bytes()
    naive = tmp_path / "naive.duckdb"
    naive.write_bytes(path.read_bytes())
    with duckdb.connect(str(naive)) as conn:
        conn.execute("DELETE FROM events WHERE tenant_id = 'acme'; CHECKPOINT; VACUUM")
    assert b"mark<acme>" in naive.read_bytes()
    store = DuckDBStore("blue/w", "blue", path, RULES, ids)
    manifest = list(store.doomed(TenantId("acme"), nothing))
    for batch in manifest:
        store.erase(erasing("acme"), batch, nothing)
    store.settle(erasing("acme"), [batch.set for batch in manifest], nothing)
    assert b"mark<acme>" not in path.read_bytes() and b"mark<zeta>" in path.read_bytes()
    with duckdb.connect(str(path)) as conn:
        assert conn.execute("SELECT count(*) FROM events").fetchone() == (50,)


def test_settling_keeps_everything_else_of_the_file(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    if store.path.is_dir():
        pytest.skip("a folder has nothing else")
    store.settle(erasing("acme"), ["main.events"], nothing)
    with duckdb.connect(str(store.path)) as conn:
        assert conn.execute("SELECT count(*) FROM v").fetchone() == (200,)
        assert conn.execute("SELECT nextval('s')").fetchone() == (5,)
        assert conn.execute("SELECT count(*) FROM duckdb_indexes()").fetchone() == (1,)


def test_a_row_that_became_somebody_elses_is_not_deleted(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    if store.path.is_dir():
        pytest.skip("Parquet files are not updated")
    (batch,) = [b for b in store.doomed(TenantId("acme"), nothing) if b.set == "main.pages"]
    resolved = DuckDBStore(
        "blue/warehouse", "blue", store.path, RULES, lambda _: TenantIds({"project": frozenset({"acme-p1"})})
    )
    erased = resolved.erase(erasing("acme"), batch, nothing)
    assert erased.deleted == 3 and [one.code for one in erased.refused] == [OWNER_CHANGED] * 3


def test_markers_are_found_before_and_not_after(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    store.plant(erasing("acme"), "canary-1")
    store.plant(erasing("zeta"), "canary-2")
    assert store.plant(erasing("acme"), "canary-1")[0].items == 2
    planted = store.rows.planted
    assert hits(store, "canary-1").get(planted) == 2
    for batch in list(store.doomed(TenantId("acme"), nothing)):
        store.erase(erasing("acme"), batch, nothing)
    store.settle(erasing("acme"), [planted], nothing)
    assert hits(store, "canary-1") == {}
    assert hits(store, "canary-2").get(planted) == 2


def test_everything_undeclared_is_found(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    if store.path.is_dir():
        (store.path / "scratch").mkdir()
        with duckdb.connect() as conn:
            conn.sql("SELECT 'hidden-1' AS x").write_parquet(str(store.path / "scratch" / "a.parquet"))
            conn.execute(
                f"COPY (SELECT 1 AS x) TO '{store.path / 'calendar2.parquet'}' (KV_METADATA {{note: 'hidden-1'}})"
            )
        (store.path / "export.csv").write_text("id,who\n1,hidden-1\n")
        (store.path / "dump.gz").write_bytes(gzip.compress(b"hidden-1"))
        (store.path / "hidden-1").mkdir()
        assert hits(store, "hidden-1").keys() == {
            "scratch/a.parquet", "calendar2.parquet", "export.csv", "dump.gz", "catalogue"
        }  # fmt: skip
        place = next(one for one in store.places() if one.name == "scratch/a.parquet")
        assert not place.declared
        assert store.search(place, found("hidden-1"), nothing).hits[0].proposal.startswith("scratch: ")
    else:
        with duckdb.connect(str(store.path)) as conn:
            conn.execute("CREATE SCHEMA shadow; CREATE TABLE shadow.cache AS SELECT ['a', 'hidden-1'] AS x")
            conn.execute("CREATE TABLE packed (x BLOB)")
            conn.execute("INSERT INTO packed VALUES (?)", [gzip.compress(b"hidden-1")])
            conn.execute("COMMENT ON TABLE calendar IS 'about hidden-1'")
            conn.execute("CREATE MACRO m() AS 'hidden-1'")
        (store.path.parent / "warehouse.duckdb.bak").write_bytes(b"old hidden-1")
        seen = hits(store, "hidden-1")
        assert {"shadow.cache", "main.packed", "catalogue", "file warehouse.duckdb.bak"} <= seen.keys()
        assert seen["catalogue"] == 2
    assert {f.code for f in store.erasure_findings(TenantId("acme")) if f.severity is Severity.REFUSAL} == {
        "duckdb.unmapped"
    }


def test_the_control_is_found(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    looks = [
        store.search(place, found("nobody", control=marker("acme2")), nothing) for place in store.places()
    ]
    assert any(one.control_found for one in looks) and not any(one.hit_count for one in looks)


@pytest.fixture
def holder(make: Callable[..., DuckDBStore]) -> Iterator[DuckDBStore]:
    """A store whose file another process has open."""
    store = make()
    code = f"import duckdb, sys; c = duckdb.connect({str(store.path)!r}); print('open', flush=True); sys.stdin.read()"
    if store.path.is_dir():
        pytest.skip("a folder is never locked")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"open\n"
        yield store
        process.communicate(b"")


def test_a_file_in_use_is_busy_and_never_clean(holder: DuckDBStore) -> None:
    with pytest.raises(StoreBusy) as busy:
        list(holder.doomed(TenantId("acme"), nothing))
    assert busy.value.retryable
    assert [f.code for f in holder.erasure_findings(TenantId("acme"))] == ["duckdb.readable"]


def test_a_broken_file_is_unread(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    if not store.path.is_dir():
        pytest.skip("told by a refusal")
    (store.path / "pages.parquet").write_bytes(b"PAR1 no parquet PAR1")
    place = next(one for one in store.places() if one.name == "pages.parquet")
    assert store.search(place, found("x"), nothing).unread


def test_a_missing_column_or_path_is_refused(make: Callable[..., DuckDBStore]) -> None:
    store = make()
    wrong = KeyMap(
        tables={**RULES.tables, "main.events": TableRule("tenant"), "events": TableRule("tenant")},
        globals=RULES.globals,
    )
    other = DuckDBStore("blue/w", "blue", store.path, wrong, ids)
    assert [f.code for f in other.erasure_findings(TenantId("acme"))] == ["duckdb.column"]
    gone = DuckDBStore("blue/w", "blue", store.path / "nowhere", RULES, ids)
    assert [f.code for f in gone.erasure_findings(TenantId("acme"))] == ["duckdb.there"]
    with pytest.raises(ConfigError, match="no path"):
        DuckDBStore.from_config(name="w", environment="blue", settings={}, ownership=OwnershipMap(), ids=ids)


def test_a_folder_called_by_the_tenant_goes_as_a_whole(tmp_path: Path) -> None:
    for tenant in ("007", "7"):
        folder = tmp_path / "w" / "events" / f"tenant_id={tenant}"
        folder.mkdir(parents=True)
        with duckdb.connect() as conn:
            conn.sql(f"SELECT 'of {tenant}' AS body").write_parquet(str(folder / "0.parquet"))
    store = DuckDBStore("blue/w", "blue", tmp_path / "w", RULES, ids)
    for batch in list(store.doomed(TenantId("007"), nothing)):
        assert store.erase(erasing("007"), batch, nothing).deleted == 1
    store.settle(erasing("007"), ["events/tenant_id=007/0.parquet"], nothing)
    assert [one.relative_to(tmp_path / "w").as_posix() for one in sorted((tmp_path / "w").rglob("*"))] == [
        "events", "events/tenant_id=7", "events/tenant_id=7/0.parquet"
    ]  # fmt: skip
