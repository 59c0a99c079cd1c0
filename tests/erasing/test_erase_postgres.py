"""An erasure on a real PostgreSQL server, from files and commands, verified by a role that may only read."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

from erasing_stage import ACME
from erasure_sample import MAP, rows_of_others, sample

from tenant_lifecycle import config, ownership_file
from tenant_lifecycle.model.erasure.request import Ground, RequestState
from tenant_lifecycle.model.operation import Operation, State
from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.wiring import Installation, Lifecycle, installation

_FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: the verifier searches every database of a server."""
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-erase-", dir=_FAST) as folder:
        Path(folder).chmod(0o755)
        running = PostgresServer(18, Path(folder) / "pg", settings={"fsync": "off", "shared_buffers": "32MB"})
        running.start()
        yield running
        running.stop("immediate")


@pytest.fixture
def lifecycle(server: PostgresServer, tmp_path: Path) -> Iterator[Lifecycle]:
    """One environment with one tenant, its neighbour as the control, and a verifier that only reads."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS rag WITH (FORCE)")
        conn.execute("CREATE DATABASE rag")
        conn.execute("DROP ROLE IF EXISTS verifier")
        conn.execute("CREATE ROLE verifier LOGIN BYPASSRLS IN ROLE pg_read_all_data")
    sample(server.dsn("rag"), docs=8)
    with psycopg.connect(server.dsn("rag"), autocommit=True) as conn:
        conn.execute("GRANT SELECT ON pg_catalog.pg_largeobject TO verifier")
    (tmp_path / "ownership.yaml").write_text(ownership_file.render(MAP))
    opened = Lifecycle(_installation(tmp_path, server))
    yield opened
    opened.close()


def _installation(folder: Path, server: PostgresServer) -> Installation:
    store = {
        "kind": "postgres",
        "dsn": server.dsn("rag"),
        "verify": {"dsn": server.dsn("rag", "verifier")},
    }
    text = f"""
version: 1
environments: {json.dumps({"blue": {"stores": {"postgres": store}}})}
erasure: {{cooling_off: 0s, settle: 0s, rescans: [], control_tenant: acme2}}
"""
    return installation(config.loads(text, folder / "lifecycle.yaml"))


def approved(lifecycle: Lifecycle) -> str:
    """A request as far as two people's approval."""
    erasures = lifecycle.erasures
    request = erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
    plan = erasures.plan(request.id, actor="petra@desk")
    assert not plan.refusals, plan.refusals
    for person in ("ann@desk", "bob@desk"):
        erasures.approve(request.id, plan=plan.digest, actor=person)
    return request.id


def drive(lifecycle: Lifecycle, operation_id: str) -> Operation:
    with lifecycle.runner() as runner:
        while True:
            operation = runner.wait(operation_id, 0.2)
            waits = operation.state is State.WAITING and operation.wake_signals
            if operation.terminal or operation.state is State.ATTENTION or waits:
                return operation


def test_a_tenant_is_erased_and_verified_on_a_real_server(
    lifecycle: Lifecycle, server: PostgresServer
) -> None:
    database = Database("blue/postgres", "blue", server.dsn("rag"), MAP)
    before = rows_of_others(database, ACME)
    request_id = approved(lifecycle)
    operation = drive(lifecycle, lifecycle.erasures.start(request_id, actor="petra@desk").id)
    assert operation.state is State.SUCCEEDED, (operation.why, lifecycle.erasures.residuals(request_id))
    assert operation.result is not None and operation.result["overall"] == "COMPLETE"
    assert operation.result["systems"][0]["level"] == "V2"
    assert lifecycle.erasures.find(request_id).state is RequestState.COMPLETED
    after = rows_of_others(database, ACME)
    assert after == before


def test_a_table_that_no_map_mentions_is_found_and_proposed(
    lifecycle: Lifecycle, server: PostgresServer
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS shadow WITH (FORCE)")
        conn.execute("CREATE DATABASE shadow")
    with psycopg.connect(server.dsn("shadow"), autocommit=True) as conn:
        conn.execute("CREATE TABLE exports (line text)")
        conn.execute('INSERT INTO exports VALUES (\'{"tenant": "acme"}\')')
    request_id = approved(lifecycle)
    operation_id = lifecycle.erasures.start(request_id, actor="petra@desk").id
    operation = drive(lifecycle, operation_id)
    assert operation.state is State.WAITING
    assert lifecycle.erasures.find(request_id).state is RequestState.NEEDS_HUMAN
    (hit,) = lifecycle.erasures.residuals(request_id)["blue/postgres"]
    assert "exports" in hit["place"]
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("DROP DATABASE shadow WITH (FORCE)")
    lifecycle.erasures.again(request_id, actor="petra@desk")
    assert drive(lifecycle, operation_id).state is State.SUCCEEDED
