"""The main job on real servers: a tenant moves under load, moves back, and nothing of anybody is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psycopg
import pytest

from rig import NEIGHBOURS, TENANT, Rig
from tenant_lifecycle.errors import (
    PlanChanged,
    TargetOccupied,
    TenantBusy,
    UnknownTenant,
    UnmappedData,
    UsageError,
)
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.sandbox.environment import Fill


def neighbours(rig: Rig) -> dict[str, dict[str, int]]:
    return {tenant: rig.rows("blue", tenant) for tenant in NEIGHBOURS} | {
        "contoso": rig.rows("green", "contoso"),
    }


def test_a_tenant_moves_under_load_and_back_and_forth_without_losing_a_write(rig: Rig) -> None:
    with rig.load(), rig.lifecycle.runner():
        id = rig.start()
        assert rig.wait(id, "flip/1").state is State.RUNNING
        time.sleep(0.5)
        rig.lifecycle.signal(id, "rollback", actor="test")
        rig.wait(id, "flip/2")
        time.sleep(0.5)
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "flip/3")
        time.sleep(0.5)
        rig.lifecycle.signal(id, "complete", actor="test")
        assert rig.wait(id).state is State.SUCCEEDED
    report = rig.judge("green")
    assert report.ok and not report.failed, report.violations[:5]
    assert not any(rig.rows("blue").values())
    assert rig.slots() == 0


def test_a_quiet_tenant_leaves_neighbours_as_they_were(rig: Rig) -> None:
    before, rows = neighbours(rig), rig.rows("blue")
    with rig.lifecycle.runner():
        id = rig.start(settle_s=0.0)
        assert rig.wait(id).state is State.SUCCEEDED
    assert rig.rows("green") == rows
    assert neighbours(rig) == before
    assert rig.output(id, "verify")["differences"] == 0


def give_global_rows(rig: Rig) -> None:
    """What belongs to nobody does not move: an empty green needs the application's role and the plans."""
    with psycopg.connect(rig.pair.green, autocommit=True) as green, contextlib.suppress(psycopg.Error):
        green.execute("CREATE ROLE rag_app LOGIN")
    with psycopg.connect(rig.pair.blue) as blue, psycopg.connect(rig.pair.green) as green:
        green.execute(
            "CREATE TABLE plans (code text PRIMARY KEY, monthly_price numeric(10, 2) NOT NULL, limits jsonb)"
        )
        for code, price in blue.execute("SELECT code, monthly_price FROM plans").fetchall():
            green.execute("INSERT INTO plans VALUES (%s, %s, '{}')", (code, price))


def test_green_may_be_empty_but_for_what_is_global(new_rig: Callable[..., Rig]) -> None:
    rig = new_rig(fill=Fill.EMPTY)
    rows = rig.rows("blue")
    give_global_rows(rig)
    with rig.lifecycle.runner():
        id = rig.start(settle_s=0.0)
        operation = rig.wait(id)
        assert operation.state is State.SUCCEEDED, operation.error
    assert rig.rows("green") == rows


@pytest.mark.parametrize(("blue", "green"), [(16, 16), (18, 16), (15, 18)])
def test_other_pairs_of_versions(new_rig: Callable[..., Rig], blue: int, green: int) -> None:
    # The distribution's 15 has no pgvector: its embeddings are real[], and green must not expect vectors.
    rig = new_rig(blue, green, fill=Fill.EMPTY if blue == 15 else Fill.RESIDENTS)
    if blue == 15:
        give_global_rows(rig)
    with rig.load(40) as load, rig.lifecycle.runner():
        id = rig.start(settle_s=0.5)
        operation = rig.wait(id)
        assert operation.state is State.SUCCEEDED, operation.error
    assert not load.stop().errors
    report = rig.judge("green")
    # An empty green gets tables, not the application's triggers: what one of them writes is missing there.
    wrong = [v for v in report.violations if blue != 15 or v.table != "audit_log"]
    assert not wrong and not report.failed, wrong[:5]


def test_manual_cutover_waits_for_a_person(rig: Rig) -> None:
    with rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        time.sleep(0.5)
        assert "flip/1" not in {step.key for step in rig.lifecycle.steps(id)}
        rig.lifecycle.signal(id, "promote", actor="test")
        assert rig.wait(id, "flip/1").state is State.RUNNING
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ROLLED_BACK


def test_abort_before_the_flip_leaves_green_as_it_was(rig: Rig) -> None:
    before = neighbours(rig)
    with rig.load(40), rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ABORTED
    assert not any(rig.rows("green").values())
    assert rig.slots() == 0
    assert neighbours(rig)["contoso"] == before["contoso"]
    assert rig.judge("blue").ok


def test_abort_after_the_flip_brings_the_writes_back(rig: Rig) -> None:
    with rig.load(), rig.lifecycle.runner():
        id = rig.start()
        rig.wait(id, "flip/1")
        time.sleep(0.5)
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ROLLED_BACK
        time.sleep(0.3)
    report = rig.judge("blue")
    assert report.ok and not report.failed, report.violations[:5]
    assert not any(rig.rows("green").values())
    assert rig.lifecycle.home(TENANT) == "blue"


def test_a_second_move_after_an_abort_works(rig: Rig) -> None:
    with rig.lifecycle.runner():
        id = rig.start()
        rig.wait(id, "flip/1")
        rig.lifecycle.abort(id, actor="test")
        rig.wait(id)
        id = rig.start(settle_s=0.0)
        operation = rig.wait(id)
        assert operation.state is State.SUCCEEDED, operation.error
    assert rig.lifecycle.home(TENANT) == "green"


def test_the_way_home_is_a_migration_like_any_other(rig: Rig) -> None:
    with rig.lifecycle.runner():
        id = rig.start(settle_s=0.0)
        assert rig.wait(id).state is State.SUCCEEDED
        rows = rig.rows("green")
        home = rig.lifecycle.start_migration(TENANT, "green", "blue", actor="test")
        rig.wait(home, "flip/1")
        rig.lifecycle.signal(home, "complete", actor="test")
        operation = rig.wait(home)
        assert operation.state is State.SUCCEEDED, operation.error
    assert rig.rows("blue") == rows
    assert rig.lifecycle.home(TENANT) == "blue"


def test_pause_stops_at_a_safe_point_and_resume_goes_on(rig: Rig) -> None:
    with rig.load(40), rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "catch-up")
        rig.lifecycle.pause(id, actor="test")
        assert rig.wait(id).state is State.PAUSED
        time.sleep(0.5)
        rig.lifecycle.resume(id, actor="test")
        rig.lifecycle.signal(id, "promote", actor="test")
        rig.wait(id, "flip/1")
        rig.lifecycle.signal(id, "complete", actor="test")
        assert rig.wait(id).state is State.SUCCEEDED
    assert rig.judge("green").ok


# -- bad input: refused before anything is changed ---------------------------------------------------------


def test_the_same_environment_twice_is_refused(rig: Rig) -> None:
    with pytest.raises(UsageError, match="must differ"):
        rig.lifecycle.plan_migration(TENANT, "blue", "blue")


def test_an_unknown_environment_is_named(rig: Rig) -> None:
    with pytest.raises(UsageError, match="red"):
        rig.lifecycle.plan_migration(TENANT, "blue", "red")


@pytest.mark.parametrize("tenant", ["nobody", "acm", "' OR true --", "acme\n", "%", "*"])
def test_an_unknown_tenant_is_named(rig: Rig, tenant: str) -> None:
    with pytest.raises(UnknownTenant) as refused:
        rig.lifecycle.start_migration(TenantId(tenant), "blue", "green", actor="test")
    assert repr(tenant) in str(refused.value)


def test_a_tenant_that_lives_elsewhere_is_refused(rig: Rig) -> None:
    with pytest.raises(UnknownTenant, match="contoso"):
        rig.lifecycle.start_migration(TenantId("contoso"), "blue", "green", actor="test")


def test_rows_of_the_tenant_on_the_target_are_refused_and_kept(rig: Rig) -> None:
    with psycopg.connect(rig.pair.green, autocommit=True) as conn:
        conn.execute("INSERT INTO counters (tenant_id, name, n) VALUES (%s, 'left over', 7)", (TENANT,))
    with pytest.raises(TargetOccupied):
        rig.start()
    assert rig.rows("green")["public.counters"] == 1


def test_an_unmapped_table_is_refused_and_named(rig: Rig) -> None:
    with psycopg.connect(rig.pair.blue, autocommit=True) as conn:
        conn.execute("CREATE TABLE forgotten (tenant_id text)")
    with pytest.raises(UnmappedData, match=r"public\.forgotten"):
        rig.start()


def test_a_second_operation_on_the_tenant_is_refused_and_named(rig: Rig) -> None:
    id = rig.start()
    with pytest.raises(TenantBusy, match=id):
        rig.start()


def test_another_plan_than_the_reviewed_one_is_refused(rig: Rig) -> None:
    with pytest.raises(PlanChanged):
        rig.lifecycle.start_migration(TENANT, "blue", "green", if_plan="sha256:00", actor="test")
    plan = rig.lifecycle.plan_migration(TENANT, "blue", "green")
    assert rig.lifecycle.start_migration(TENANT, "blue", "green", if_plan=plan.hash, actor="test")
