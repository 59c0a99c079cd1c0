"""The same on real PostgreSQL: the sample application's tenant, restored and cloned, and neighbours as they were."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import psycopg
import pytest

from rig import Rig, make_rig
from sample_fixtures import SandboxPair
from tenant_lifecycle.errors import (
    ConfigError,
    PreconditionRefused,
    TenantBusy,
    UnknownTenant,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.backup.clone import CloneState
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.erasure.request import Exception17
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, Outputs, State
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.sandbox.sample import PLATINUM, TENANTS
from tenant_lifecycle.wiring.backups import Wanted
from tenant_lifecycle.wiring.cloning import WantedClone

KEY = b"k" * 32
TENANT, NEIGHBOUR = TenantId(PLATINUM), TENANTS[1].id
BACKUPS = "backups: {repository: {folder: backups, key: {file: backups.key}}, tiers: {platinum: {cross_region: false}, gold: {rpo: 1s}}}\n"
ASKER, OTHER = "petra@desk", "otto@desk"


@pytest.fixture
def rig(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Iterator[Rig]:
    """Blue with tenants, green with residents, and a repository."""
    key = tmp_path / "backups.key"
    key.write_text(base64.b64encode(os.urandom(32)).decode())
    key.chmod(0o600)
    with resources.as_file(resources.files("tenant_lifecycle.sandbox") / "masking.yaml") as rules:
        shutil.copy(rules, tmp_path / "masking.yaml")
    made = make_rig(sandbox_pair(16, 18, Fill.RESIDENTS), tmp_path, policies=BACKUPS)
    yield made
    made.lifecycle.close()


def drive(rig: Rig, operation: Operation) -> Operation:
    driver = rig.lifecycle.driver()
    for _ in range(20):
        driver.drive(operation.id)
        operation = rig.lifecycle.operation(operation.id)
        if operation.state in TERMINAL | {State.ATTENTION} or operation.wake_signals:
            return operation
    raise AssertionError(operation)


def fingerprints(rig: Rig, environment: str, tenant: str) -> dict[str, object]:
    """Of everything the tenant has."""
    store = rig.lifecycle.stores[environment]["postgres"]
    with store.read_base(TenantId(tenant), lambda: None) as reading:
        return {name: fingerprint(KEY, reading.items(name)) for name in reading.shapes}


def test_a_ruined_tenant_comes_back_row_by_row(rig: Rig) -> None:
    before, neighbour = fingerprints(rig, "blue", TENANT), fingerprints(rig, "blue", NEIGHBOUR)
    service = rig.lifecycle.backups
    assert drive(rig, service.start_backup(TENANT, None, actor=ASKER)).state is State.SUCCEEDED
    with psycopg.connect(rig.pair.blue) as conn:
        conn.execute("UPDATE documents SET body = 'ENCRYPTED', title = 'pay' WHERE tenant_id = %s", (TENANT,))
        conn.execute(
            "DELETE FROM chunks WHERE document_id IN (SELECT id FROM documents WHERE tenant_id = %s)",
            (TENANT,),
        )
    assert fingerprints(rig, "blue", TENANT) != before

    waiting = drive(rig, service.start_restore(Wanted(TENANT, "latest"), actor=ASKER))
    assert waiting.state is State.WAITING, waiting
    diffs = {one.set: one for one in service.diff(waiting.id, 1)["postgres"]}
    assert diffs["public.chunks"].only_restored > 0 and diffs["public.documents"].changed > 0
    service.promote(waiting.id, actor=OTHER)
    done = drive(rig, waiting)
    assert done.state is State.SUCCEEDED, done
    assert fingerprints(rig, "blue", TENANT) == before
    assert fingerprints(rig, "blue", NEIGHBOUR) == neighbour


def test_a_drill_restores_it_beside_and_leaves_nothing(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    done = drive(rig, rig.lifecycle.drilling.start([TENANT], actor=ASKER))
    assert done.state is State.SUCCEEDED, done
    [report] = rig.lifecycle.drilling.reports()
    assert report["passed"] and report["items"]["postgres"] > 100 and report["rto_s"] > 0
    assert rig.lifecycle.stores["blue"]["postgres"].previews() == []


def test_a_masked_clone_passes_the_gate_and_goes_again(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    residents = fingerprints(rig, "green", "resident-1")
    wanted = WantedClone(TENANT, TenantId("clone-1"), "green", "ann", "look at 4711", 3600.0)
    done = drive(rig, rig.lifecycle.cloning.start(wanted, actor=ASKER))
    assert done.state is State.SUCCEEDED, done
    [clone] = rig.lifecycle.cloning.list()
    assert clone.state is CloneState.EXPOSED and clone.report is not None and clone.report["passed"]
    outputs = Outputs.of(tuple(rig.lifecycle.steps(done.id)))
    assert outputs["confirm/postgres"]["items"] == outputs["build"]["items"] > 100
    assert rig.rows("green", "clone-1") == rig.rows("blue", TENANT)

    gone = drive(rig, rig.lifecycle.cloning.delete("clone-1", actor=ASKER))
    assert gone.state is State.SUCCEEDED, (gone.error, rig.lifecycle.steps(gone.id))
    assert sum(rig.rows("green", "clone-1").values()) == 0 and rig.lifecycle.cloning.list() == []
    assert fingerprints(rig, "green", "resident-1") == residents


def test_a_planted_leak_destroys_the_clone_before_anybody_sees_it(rig: Rig) -> None:
    """Titles are declared public, and one of them names a person of the tenant."""
    rules = rig.folder / "masking.yaml"
    leaky = rules.read_text().replace("        title: free_text\n", "        title: public\n")
    assert leaky != rules.read_text()
    rules.write_text(leaky)
    with psycopg.connect(rig.pair.blue) as conn:
        conn.execute(
            "UPDATE documents SET title = 'call ' || (SELECT email FROM users JOIN memberships ON user_id = id "
            "WHERE tenant_id = %(tenant)s LIMIT 1) WHERE id = (SELECT id FROM documents WHERE tenant_id = %(tenant)s LIMIT 1)",
            {"tenant": TENANT},
        )
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    wanted = WantedClone(TENANT, TenantId("clone-1"), "green", "ann", "look at 4711", 3600.0)
    failed = drive(rig, rig.lifecycle.cloning.start(wanted, actor=ASKER))
    assert failed.state is State.FAILED and failed.cause is not None
    assert failed.cause.kind == "VerificationFailed" and "leak" in failed.cause.message
    [clone] = rig.lifecycle.cloning.list(every=True)
    assert clone.state is CloneState.DESTROYED and clone.report is not None
    assert {leak["kind"] for leak in clone.report["leaks"]} >= {"email"}
    assert "@" not in str(clone.report), "the report names places, not values"
    assert sum(rig.rows("green", "clone-1").values()) == 0
    assert rig.lifecycle.stores["green"]["postgres"].previews() == []


def test_a_clone_whose_time_is_over_is_taken_away(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    wanted = WantedClone(TENANT, TenantId("clone-1"), "green", "ann", "a moment", 0.001)
    drive(rig, rig.lifecycle.cloning.start(wanted, actor=ASKER))
    [begun] = rig.lifecycle.cloning.expire()
    assert rig.lifecycle.cloning.expire() == [], "begun once"
    assert drive(rig, begun).state is State.SUCCEEDED
    assert sum(rig.rows("green", "clone-1").values()) == 0 and rig.lifecycle.cloning.list() == []


def test_a_place_without_a_class_stops_the_clone(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    rules = rig.folder / "masking.yaml"
    rules.write_text(rules.read_text().replace("        title: free_text\n", "", 1))
    wanted = WantedClone(TENANT, TenantId("clone-1"), "green", "ann", "look", 3600.0)
    with pytest.raises(PreconditionRefused, match="title") as refused:
        rig.lifecycle.cloning.start(wanted, actor=ASKER)
    assert "masking.unclassified" in {one.code for one in refused.value.findings}


def test_nobody_clones_onto_a_tenant_that_is_there(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    taken = rig.lifecycle.stores["green"]["postgres"].tenants()[0]
    wanted = WantedClone(TENANT, taken, "green", "ann", "look", 3600.0)
    assert "clone.occupied" in {one.code for one in rig.lifecycle.cloning.plan(wanted).refusals}


def test_a_tenant_that_is_being_moved_is_busy(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    rig.start()
    with pytest.raises(TenantBusy):
        rig.lifecycle.backups.start_restore(Wanted(TENANT, "latest"), actor=ASKER)


def test_a_held_tenant_is_not_replaced(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    rig.lifecycle.erasures.place_hold("case 1", Exception17.LEGAL_CLAIMS, [TENANT], actor=ASKER)
    assert {one.code for one in rig.lifecycle.backups.plan_restore(Wanted(TENANT, "latest")).refusals} == {
        "restore.held"
    }


def test_a_held_tenant_may_be_looked_at_as_it_was(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    rig.lifecycle.erasures.place_hold("case 1", Exception17.LEGAL_CLAIMS, [TENANT], actor=ASKER)
    with pytest.raises(PreconditionRefused):
        rig.lifecycle.backups.start_restore(Wanted(TENANT, "latest"), actor=ASKER)
    looked = rig.lifecycle.backups.start_restore(Wanted(TENANT, "latest"), preview_only=True, actor=ASKER)
    with pytest.raises(WrongState, match="preview only"):
        rig.lifecycle.backups.promote(looked.id, actor=OTHER)


def test_a_tenant_is_not_restored_where_it_never_was_while_it_is_written_elsewhere(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    rig.lifecycle.backups.protect(TENANT)
    wanted = Wanted(TENANT, "latest", "green")
    [refusal] = rig.lifecycle.backups.plan_restore(wanted).refusals
    assert refusal.code == "restore.not-writer" and "--in blue" in refusal.next_step
    with pytest.raises(PreconditionRefused, match="blue"):
        rig.lifecycle.backups.start_restore(wanted, actor=ASKER)


def test_without_the_repositorys_key_no_backup_is_begun(rig: Rig) -> None:
    (rig.folder / "backups.key").unlink()
    with pytest.raises(ConfigError, match=r"backups\.key") as refused:
        rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER)
    assert refused.value.next_step.startswith("put the repository's key there")
    assert rig.lifecycle.operations(kind="backup") == []


def test_a_window_of_nobody_is_not_an_empty_window(rig: Rig) -> None:
    assert not rig.lifecycle.restore_window(TENANT).intervals, "there, and without a base"
    with pytest.raises(UnknownTenant, match="nobody"):
        rig.lifecycle.restore_window(TenantId("nobody"))


def test_a_time_without_its_zone_is_refused(rig: Rig) -> None:
    with pytest.raises(UsageError, match="zone"):
        rig.lifecycle.backups.plan_restore(Wanted(TENANT, "2026-11-24T10:15:30"))


def test_a_table_that_changed_meanwhile_is_refused_by_its_columns(rig: Rig) -> None:
    drive(rig, rig.lifecycle.backups.start_backup(TENANT, None, actor=ASKER))
    with psycopg.connect(rig.pair.blue) as conn:
        conn.execute("ALTER TABLE documents ADD colour text NOT NULL DEFAULT 'red'")
    refusals = rig.lifecycle.backups.plan_restore(Wanted(TENANT, "latest")).refusals
    assert any("colour" in one.message and one.code.endswith("column-mismatch") for one in refusals)
