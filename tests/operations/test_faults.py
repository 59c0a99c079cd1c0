"""Things that go wrong in the middle: killed drivers, changed schemas, lost slots, servers that restart."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from rig import TENANT, Rig
from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.operation import Operation, State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.stores.base import Fences

STEPS = ["provision", "arm", "feed", "copy", "catch-up", "way-back", "verify", "flip/1", "settle/1", "leave"]


def begun(rig: Rig, id: str, key: str) -> None:
    """Wait until the step began."""
    deadline = time.monotonic() + 150
    while key not in {step.key for step in rig.lifecycle.steps(id)}:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("key", STEPS)
def test_a_driver_killed_in_any_step_is_replaced_and_nothing_is_lost(rig: Rig, key: str) -> None:
    with rig.load(40):
        id = rig.start()
        with rig.worker() as worker:
            if key == "leave":
                rig.wait(id, "flip/1")
                rig.lifecycle.signal(id, "complete", actor="test")
            begun(rig, id, key)
            worker.kill()
        with rig.worker():
            rig.wait(id, "flip/1")
            with contextlib.suppress(Exception):
                rig.lifecycle.signal(id, "complete", actor="test")
            operation = rig.wait(id)
            assert operation.state is State.SUCCEEDED, operation.error
    report = rig.judge("green")
    assert report.ok and not report.failed, report.violations[:5]
    assert rig.slots() == 0


@contextlib.contextmanager
def verified(rig: Rig) -> Iterator[str]:
    """A migration that is verified and waits for a person, with writers at work."""
    with rig.load(40), rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        begun(rig, id, "promote/1")
        yield id


def stands_and_can_be_aborted(rig: Rig, id: str) -> Operation:
    """It stopped for a person, writes went on at the source, and an abort leaves nothing behind."""
    operation = rig.wait(id)
    assert operation.state is State.ATTENTION
    rig.lifecycle.abort(id, actor="test")
    assert rig.wait(id).state is State.ABORTED
    assert not any(rig.rows("green").values())
    assert rig.slots() == 0
    return operation


CHANGES = {
    "truncate": ("TRUNCATE usage_events", "truncated"),
    "new column": ("ALTER TABLE notes ADD COLUMN colour text; UPDATE notes SET colour = 'red'", "notes"),
    "lost column": ("ALTER TABLE notes ADD COLUMN x int; ALTER TABLE notes DROP COLUMN x; "
                    "ALTER TABLE settings DROP COLUMN value; UPDATE settings SET slug = slug", "settings"),
    "other tenant": ("UPDATE counters SET tenant_id = 'hooli', name = name || ' was acme''s' WHERE tenant_id = 'acme'",
                     "tenant"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_a_stream_cannot_carry_stops_the_move_and_names_itself(rig: Rig, change: str) -> None:
    statement, named = CHANGES[change]
    with rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        begun(rig, id, "promote/1")
        with psycopg.connect(rig.pair.blue, autocommit=True) as conn:
            try:
                conn.execute(statement.encode())
            except psycopg.errors.UndefinedColumn:
                pytest.skip("the sample schema has no such column")
        operation = stands_and_can_be_aborted(rig, id)
        assert operation.error is not None and named in operation.error.message, operation.error
        assert operation.error.next_step


def test_a_dropped_slot_stops_the_move_and_says_so(rig: Rig) -> None:
    with verified(rig) as id:
        with psycopg.connect(rig.pair.blue, autocommit=True) as conn:
            name, pid = conn.execute(
                "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = current_database()"
            ).fetchone()
            for _ in range(50):
                conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
                with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                    conn.execute("SELECT pg_drop_replication_slot(%s)", (name,))
                    break
                (pid,) = conn.execute(
                    "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", (name,)
                ).fetchone()
        operation = stands_and_can_be_aborted(rig, id)
        assert operation.error is not None and operation.error.kind == "FeedGap"
    assert rig.judge("blue").ok


@pytest.mark.parametrize("name", ["blue", "green"])
def test_a_server_that_restarts_in_the_middle_is_waited_for(rig: Rig, name: str) -> None:
    server = rig.pair.blue_server if name == "blue" else rig.pair.green_server
    with verified(rig) as id:
        server.restart("immediate")
        rig.lifecycle.signal(id, "promote", actor="test")
        operation = rig.wait(id, "flip/1")
        assert operation.state is State.RUNNING, operation.error
        time.sleep(0.3)
        server.restart("immediate")
        rig.lifecycle.signal(id, "complete", actor="test")
        operation = rig.wait(id)
        assert operation.state is State.SUCCEEDED, operation.error
    assert rig.judge("green").ok


def test_a_long_transaction_delays_the_flip_is_named_and_nobody_is_cancelled(rig: Rig) -> None:
    with verified(rig) as id, psycopg.connect(rig.pair.blue, application_name="nightly report") as busy:
        busy.execute("UPDATE counters SET n = n WHERE tenant_id = %s", (TENANT,))
        rig.lifecycle.signal(id, "promote", actor="test")
        begun(rig, id, "flip/1")
        deadline = time.monotonic() + 20
        while not any("nightly report" in str(e.detail) for e in rig.lifecycle.events(id)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        busy.commit()
        assert rig.wait(id, "flip/1").state is State.RUNNING
    report = rig.judge("green")
    assert report.ok and not report.failed


def test_a_server_that_is_not_there_is_named(rig: Rig, new_rig: Callable[..., Rig]) -> None:
    file = rig.folder / "lifecycle.yaml"
    text = file.read_text()
    port = rig.pair.green.split("port=")[1].split()[0]
    file.write_text(text.replace(f"port={port}", "port=1"))
    from tenant_lifecycle.wiring import open_lifecycle

    with open_lifecycle(file) as lifecycle, pytest.raises((StoreError, Exception)) as refused:
        lifecycle.start_migration(TENANT, "blue", "green", actor="test")
    assert "green/postgres" in str(refused.value)


def test_a_terraform_hook_provisions_and_a_failing_command_stops_with_its_words(
    new_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    policies = 'policies: {provision: {command: ["sh", "-c", "echo no quota left >&2; exit 3"]}}\n'
    if shutil.which("terraform"):
        folder = tmp_path / "terraform"
        folder.mkdir()
        (folder / "main.tf").write_text(
            'variable "tenant" {}\nvariable "source_env" {}\nvariable "target_env" {}\n'
            'resource "terraform_data" "green" {\n  input = var.tenant\n}\n'
            'output "who" {\n  value = terraform_data.green.output\n}\n'
        )
        rig = new_rig(policies=f"policies: {{provision: {{terraform: {json.dumps(str(folder))}}}}}\n")
        with rig.lifecycle.runner():
            id = rig.start(settle_s=0.0)
            operation = rig.wait(id)
            assert operation.state is State.SUCCEEDED, operation.error
        assert any(
            e.kind == "provisioned" and e.detail["outputs"] == ["who"] for e in rig.lifecycle.events(id)
        )
    rig = new_rig(policies=policies)
    with rig.lifecycle.runner():
        id = rig.start()
        operation = rig.wait(id)
        assert operation.state is State.ATTENTION
        assert operation.error is not None and "no quota left" in operation.error.message


def test_an_abort_between_commit_point_and_activation_leaves_somebody_who_may_write(rig: Rig) -> None:
    """The driver died in that instant, and a person aborted before another took over (chaos, seed 114)."""
    with rig.lifecycle.runner():
        id = rig.start(cutover=Cutover.MANUAL)
        rig.wait(id, "verify")
        blue = rig.lifecycle.stores["blue"]["postgres"]
        assert isinstance(blue, Fences)
        ticket = blue.fence(TENANT, 1, 2.0, 1.0)
        assert blue.commit_move(TENANT, ticket, "green")
        rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state in (State.ABORTED, State.ROLLED_BACK)
        assert rig.lifecycle.home(TENANT) == "blue"
    with rig.load():
        time.sleep(0.5)
    report = rig.judge("blue")
    assert report.ok and not report.failed
