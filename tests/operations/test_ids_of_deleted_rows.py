"""Keys whose names are made of a row's id, after the row is gone and the driver was killed: still the tenant's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rig import WorkerProcess
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, State, StepStatus
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.open_items import vector_index
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.wiring import Lifecycle, find_installation

TENANT, OTHER = TenantId("o'neill & sons"), TenantId("hooli")
LEFT_OVERS = (
    "SELECT count(*) FROM tenant_lifecycle.applied UNION ALL SELECT count(*) FROM tenant_lifecycle.copy_part "
    "UNION ALL SELECT count(*) FROM tenant_lifecycle.departed UNION ALL SELECT count(*) FROM tenant_lifecycle.known_id"
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("ids")
    folder.chmod(0o755)
    sandbox = Sandbox(folder / "box", settings={"fsync": "off"}, parts=[Part.VECTORS])
    with running(sandbox, scale=0.02, green=Fill.RESIDENTS):
        yield sandbox


def wait(lifecycle: Lifecycle, id: str, key: str = "") -> None:
    """Until the step is done; without one, until the operation has ended."""
    end = time.monotonic() + 60
    while not any(s.key == key and s.status is StepStatus.DONE for s in lifecycle.steps(id)):
        operation = lifecycle.operation(id)
        if not key and operation.state in TERMINAL:
            return
        assert operation.state not in TERMINAL | {State.ATTENTION}, (operation.state, operation.why)
        assert time.monotonic() < end, (
            operation.state,
            [(e.kind, e.detail) for e in lifecycle.events(id)][-6:],
        )
        time.sleep(0.05)


def library(box: Sandbox, tenant: TenantId) -> str:
    with psycopg.connect(box.dsn("blue")) as conn:
        (id,) = conn.execute(
            "SELECT id::text FROM collections WHERE tenant_id = %s ORDER BY id LIMIT 1", (tenant,)
        ).fetchone() or ("",)
    return str(id)


def vectors(box: Sandbox, environment: str, collection: str) -> list[str]:
    index = vector_index(box.connections[environment]["vectors"])
    return [str(one.id) for page in index.list(namespace=f"library-{collection}") for one in page]


def delete_library_with_its_driver_dead(box: Sandbox, collection: str) -> None:
    """As an application whose mirror does not reach the other side: a block that names the keys, then deletes."""
    doomed = vectors(box, "blue", collection)
    assert doomed
    keys = [f"library-{collection}\0{id}".encode() for id in doomed]
    with (
        psycopg.connect(box.dsn("blue"), autocommit=True) as journal,
        psycopg.connect(box.dsn("blue")) as block,
    ):
        (journaling, holder) = block.execute(
            "SELECT journaling, holder::text FROM tenant_lifecycle.enter(%s)", (TENANT,)
        ).fetchone() or (False, None)
        assert journaling
        journal.execute("SELECT tenant_lifecycle.touch(%s, 'vectors', %s, %s::xid8)", (TENANT, keys, holder))
        index = vector_index(box.connections["blue"]["vectors"])
        index.delete(ids=doomed, namespace=f"library-{collection}")
        block.execute("DELETE FROM collections WHERE id = %s::uuid", (collection,))


def test_a_key_of_a_deleted_row_is_carried_over_by_a_driver_that_never_saw_the_row(
    box: Sandbox, tmp_path: Path
) -> None:
    collection, theirs = library(box, TENANT), library(box, OTHER)
    with Lifecycle(find_installation(box.folder / "lifecycle.yaml")) as lifecycle:
        options = MigrationOptions(Cutover.MANUAL, 3600.0, 2, cutover_steps=())
        id = lifecycle.start_migration(TENANT, "blue", "green", options, actor="test")
        with WorkerProcess(box.folder, "a"):
            wait(lifecycle, id, "verify")
            assert vectors(box, "green", collection)
        delete_library_with_its_driver_dead(box, collection)
        with WorkerProcess(box.folder, "a"):
            lifecycle.signal(id, "promote", actor="test")
            wait(lifecycle, id, "flip/1")
            assert vectors(box, "green", collection) == []
            assert vectors(box, "blue", theirs) and vectors(box, "green", theirs) == []
            lifecycle.signal(id, "complete", actor="test")
            wait(lifecycle, id)
        assert lifecycle.operation(id).state is State.SUCCEEDED
    for environment in ("blue", "green"):
        with psycopg.connect(box.dsn(environment)) as conn:
            assert conn.execute(LEFT_OVERS).fetchall() == [(0,)] * 4
