"""Looking on: lines where nothing can be redrawn, objects for programs, and a Ctrl-C that stops nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripted import Run, ScriptedLifecycle

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.cli import watch as watching
from tenant_lifecycle.cli.starting import starter
from tenant_lifecycle.model.operation import NewOperation


def test_watching_without_a_terminal_prints_one_line_per_change(run: Run, service: ScriptedLifecycle) -> None:
    run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "20s")
    run("migrate", "complete", "acme", "--confirm", "acme", "--wait", "--timeout", "20s")
    ran = run("op", "watch", "acme")
    assert ran.code == 0
    assert "copy: done" in ran.out
    assert "told to complete by " in ran.out
    assert "\x1b" not in ran.out + ran.err
    assert "Done" in ran.out


def test_watching_as_json_is_one_object_per_line_with_the_summary_last(
    run: Run, service: ScriptedLifecycle
) -> None:
    run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "20s")
    run("migrate", "abort", "acme", "--confirm", "acme", "--wait", "--timeout", "20s")
    ran = run("migrate", "watch", "acme", "--json")
    messages = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 1, "it was aborted, and whoever watches a migration wanted it to succeed"
    assert {message["message_type"] for message in messages[:-1]} == {"event"}
    assert messages[-1]["message_type"] == "summary"
    assert messages[-1]["operation"]["state"] == "rolled_back"
    seqs = [message["seq"] for message in messages[:-1]]
    assert seqs == sorted(set(seqs))


def test_progress_is_told_while_nothing_else_changes(run: Run, service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    run("migrate", "start", "acme", "--to", "green")
    lines: list[str] = []
    screen = watching.Lines(lines.append)
    deadline = time.monotonic() + 20
    while not (lines and "50 %" in lines[-1]) and time.monotonic() < deadline:
        screen._told_at = -1e9
        screen.draw(watching.snapshot(service, service.operation("acme").id), final=False)
        time.sleep(0.02)
    assert "copy  50 %  1/2" in lines[-1]


def test_ctrl_c_detaches_says_how_to_come_back_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "lifecycle.yaml").write_text(starter("lifecycle.yaml"))
    database = ControlDatabase(tmp_path / ".tenant-lifecycle" / "control.db")
    upgrade(database)
    operations = Operations(database)
    made = operations.create(NewOperation("migrate", "migrate@1", "acme", "test", spec={"source": "blue", "target": "green"}))  # fmt: skip
    environment = {**os.environ, "BLUE_DSN": "dbname=blue", "GREEN_DSN": "dbname=green"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tenant_lifecycle.cli", "op", "watch", "acme"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "created" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Detached. The operation goes on." in err
    assert f"Reattach: tenantctl op watch {made.id}" in err
    assert "tenantctl migrate abort acme" in err
    assert operations.get(made.id) == made
    database.close()
