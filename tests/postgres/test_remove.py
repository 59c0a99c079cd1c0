"""Removing a tenant from one side: all of it, nobody else's, and killed anywhere it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from fence_sample import HOSTILE, move, sample

from tenant_lifecycle.errors import Fenced, InvariantViolated
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.base import Feed, FenceState
from tenant_lifecycle.stores.postgres import fence, ours
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.remove import deletion_order, remove

A = TenantId("a")
FEED = Feed("tl_test_rev", A, 1)


def nothing() -> None:
    """A check that never objects."""


def counts(database: Database, tenant: str) -> dict[str, int]:
    resolved = database.map.resolve(tenant, frozenset(database.tables()))
    with database.session() as conn:
        return {
            str(name): conn.execute(
                psycopg.sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(
                    table_sql(name), owned_rows(resolved, name, "t")
                )
            ).fetchone()[0]
            for name in resolved.moved
        }


def everything(database: Database, but: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables that are not exclusively the tenant's, as text."""
    resolved = database.map.resolve(but, frozenset(database.tables()))
    found = {}
    with database.session() as conn:
        for name in resolved.moved:
            query = psycopg.sql.SQL(
                "SELECT t::text FROM {} t WHERE NOT coalesce({}, false) ORDER BY 1"
            ).format(
                table_sql(name),
                psycopg.sql.SQL("id < 100 AND id % 100 < 10")
                if name.name == "users"
                else owned_rows(resolved, name, "t"),
            )
            found[str(name)] = conn.execute(query).fetchall()
    return found


@pytest.fixture
def database(new_database: Callable[..., str]) -> Iterator[Database]:
    database = sample(new_database(18), docs=60)
    yield database
    database.close()


@pytest.mark.parametrize("batch", [1, 7, 5000])
def test_everything_of_the_tenant_goes_and_everything_else_stays(database: Database, batch: int) -> None:
    before, others = counts(database, A), everything(database, A)
    deleted = remove(database, FEED, nothing, batch_rows=batch)
    assert not any(counts(database, A).values())
    assert everything(database, A) == others and counts(database, "b")["public.docs"] == 60
    assert deleted == {**before, "public.users": before["public.users"] - 2}  # two people are shared
    assert deleted["public.docs"] == 60 and deleted["public.messages"] == 50
    assert not any(remove(database, FEED, nothing).values())


def test_a_stop_anywhere_is_taken_up_where_it_stopped(database: Database) -> None:
    before, others = counts(database, A), everything(database, A)
    total: dict[str, int] = dict.fromkeys(before, 0)

    class Stop(Exception):
        pass

    for allowed in range(1, 400, 13):
        left = iter(range(allowed))

        def check(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Stop

        in_order = list(total)
        try:
            for name, count in remove(database, FEED, check, batch_rows=5).items():
                total[name] += count
        except Stop:
            assert in_order  # it stopped: what it deleted stays deleted, the rest is found again
            continue
        break
    else:
        pytest.fail("it never came to its end")
    assert allowed > 13
    assert not any(counts(database, A).values())
    assert everything(database, A) == others
    with database.session() as conn:
        left_people = conn.execute(
            "SELECT id FROM public.users WHERE id < 10 OR id >= 100 ORDER BY id"
        ).fetchall()
    assert left_people == [(100,), (101,)]  # also when memberships were deleted in an earlier call


def test_it_writes_as_ours_where_the_tenant_has_moved_away(database: Database) -> None:
    fence.arm(database, A, FenceState.ACTIVE, 1, None)
    move(database, A, 1, "green")
    with database.session() as conn:
        conn.execute(
            "CREATE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'boom'; END$$"
        )
        conn.execute(
            "CREATE TRIGGER boom BEFORE DELETE ON public.docs FOR EACH ROW EXECUTE FUNCTION public.boom()"
        )
        remove(database, FEED, nothing)
        assert conn.execute(
            "SELECT writes > 0 FROM tenant_lifecycle.applied WHERE lane = 'remove'"
        ).fetchone() == (True,)
    assert not any(counts(database, A).values())


def test_an_old_driver_removes_nothing(database: Database) -> None:
    before = counts(database, A)
    remove(database, Feed(FEED.name, TenantId("nobody"), 1), nothing)
    with database.session() as conn:
        ours.register_lane(conn, ours.Writer(FEED.name, A, 9), "remove")
    with pytest.raises(Fenced):
        remove(database, FEED, nothing)
    assert counts(database, A) == before


@pytest.mark.parametrize("tenant", HOSTILE[:4], ids=range(4))
def test_any_string_may_be_a_tenant(new_database: Callable[..., str], tenant: str) -> None:
    database = sample(new_database(18), (tenant, "b"))
    remove(database, Feed("tl_h", TenantId(tenant), 1), nothing)
    assert not any(counts(database, tenant).values())
    assert counts(database, "b")["public.docs"] == 30
    database.close()


def test_what_a_rule_needs_to_find_rows_is_deleted_after_them(database: Database) -> None:
    resolved: ResolvedMap = database.map.resolve(A, frozenset(database.tables()))
    order = [name.name for name in deletion_order(resolved)]
    assert sorted(order) == sorted(name.name for name in resolved.moved)
    assert order[-1] == "tenants"
    assert order.index("messages") < order.index("chats") < order.index("members")
    assert order.index("users") < order.index("members")


@pytest.mark.parametrize("state", [FenceState.ACTIVE, FenceState.MOVED, FenceState.STANDBY])
def test_nothing_is_deleted_where_the_tenant_is_written(database: Database, state: FenceState) -> None:
    """Also by a driver that slept through the end of its move, and through the tenant's coming back."""
    before = counts(database, A)
    fence.arm(database, A, state, 3, None if state is FenceState.ACTIVE else "green")
    if state is FenceState.ACTIVE:
        with pytest.raises(InvariantViolated, match="nothing was deleted"):
            remove(database, FEED, nothing)
        assert counts(database, A) == before
    else:
        remove(database, FEED, nothing)
        assert set(counts(database, A).values()) == {0}
