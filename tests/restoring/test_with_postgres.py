"""The same on real PostgreSQL: the sample application's tenant, restored and cloned, and neighbours as they were."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import psycopg
import pytest
from cupboard import BoxRepository

from rig import Rig, make_rig
from sample_fixtures import SandboxPair
from tenant_lifecycle.model.backup.clone import CloneState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, Outputs, State
from tenant_lifecycle.sandbox.environment import Fill
from tenant_lifecycle.sandbox.sample import PLATINUM, TENANTS
from tenant_lifecycle.wiring import Lifecycle, find_installation
from tenant_lifecycle.wiring.backups import Wanted
from tenant_lifecycle.wiring.cloning import WantedClone

TENANT, NEIGHBOUR = TenantId(PLATINUM), TENANTS[1].id
ASKER, OTHER = "petra@desk", "otto@desk"


@pytest.fixture
def rig(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Iterator[Rig]:
    """Blue with tenants, green with residents, and a box for bases."""
    made = make_rig(sandbox_pair(16, 18, Fill.RESIDENTS), tmp_path)
    with resources.as_file(resources.files("tenant_lifecycle.sandbox") / "masking.yaml") as rules:
        shutil.copy(rules, tmp_path / "masking.yaml")
    made.lifecycle.close()
    found = find_installation(tmp_path / "lifecycle.yaml")

    def box(tenant: TenantId) -> BoxRepository:
        return BoxRepository(tmp_path / f"box-{tenant.encode().hex()}", tenant)

    made.lifecycle = Lifecycle(replace(found, open_repository=box))
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
    from cupboard import KEY

    from tenant_lifecycle.model.backup.fingerprint import fingerprint

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
