"""Somebody with the right to switch triggers off writes to the side that is not the writer."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from rig import TENANT, Rig
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.model.plan import Cutover

FOREIGN = "written by a script on the wrong server"


def write_past_the_fence(dsn: str) -> str:
    """Change a document of the tenant, drop one, and add one; returns the changed one's id."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        rows = conn.execute(
            "SELECT id::text FROM documents WHERE tenant_id = %s ORDER BY id LIMIT 2", (TENANT,)
        ).fetchall()
        conn.execute("UPDATE documents SET title = %s WHERE id = %s::uuid", (FOREIGN, rows[0][0]))
        conn.execute("DELETE FROM chunks WHERE document_id = %s::uuid", (rows[1][0],))
    return str(rows[0][0])


def title(dsn: str, document: str) -> str:
    with psycopg.connect(dsn) as conn:
        return str(conn.execute("SELECT title FROM documents WHERE id = %s::uuid", (document,)).fetchone()[0])


def chunks(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        return int(
            conn.execute(
                "SELECT count(*) FROM chunks c JOIN documents d ON d.id = c.document_id WHERE d.tenant_id = %s",
                (TENANT,),
            ).fetchone()[0]
        )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_foreign_write_never_reaches_the_writer_and_is_mended(rig: Rig) -> None:
    with rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        before = chunks(rig.pair.blue)
        document = write_past_the_fence(rig.pair.green)
        until(lambda: title(rig.pair.green, document) != FOREIGN and chunks(rig.pair.green) == before)
        assert title(rig.pair.blue, document) != FOREIGN
        assert chunks(rig.pair.blue) == before
        rig.lifecycle.signal(id, "promote", actor="test")
        assert rig.wait(id, "flip/1").state is not State.ATTENTION
        assert rig.consistent()
        events = [event.kind for event in rig.lifecycle.events(id)]
        assert "foreign-writes" in events


def test_too_many_foreign_writes_stop_the_flip(new_rig: Callable[..., Rig]) -> None:
    rig = new_rig(policies="policies: {max_repairs: 5}\n")
    with rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        with psycopg.connect(rig.pair.green, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")
            conn.execute("UPDATE documents SET title = %s WHERE tenant_id = %s", (FOREIGN, TENANT))
            (many,) = conn.execute("SELECT count(*) FROM documents WHERE title = %s", (FOREIGN,)).fetchone()
        operation = rig.wait(id)
        assert many > 5
        assert operation.state is State.ATTENTION, operation.why
        assert "differ" in operation.why
        assert rig.lifecycle.home(TENANT) == "blue"
        with psycopg.connect(rig.pair.blue) as conn:
            assert conn.execute("SELECT count(*) FROM documents WHERE title = %s", (FOREIGN,)).fetchone() == (
                0,
            )
