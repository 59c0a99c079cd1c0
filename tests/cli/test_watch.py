"""Looking on: lines where nothing can be redrawn, objects for programs, and a Ctrl-C that stops nothing."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripted import Run, ScriptedLifecycle
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.cli import watch as watching
from tenant_lifecycle.cli.starting import starter
from tenant_lifecycle.model.operation import NewOperation, Operation


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


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Operations, Operation]]:
    """A real installation in ``tmp_path`` with one migration that nobody drives."""
    (tmp_path / "lifecycle.yaml").write_text(starter("lifecycle.yaml"))
    database = ControlDatabase(tmp_path / ".tenant-lifecycle" / "control.db")
    upgrade(database)
    operations = Operations(database)
    spec = {"source": "blue", "target": "green", "cutover": "auto"}
    yield operations, operations.create(NewOperation("migrate", "migrate@1", "acme", "test", spec=spec))
    database.close()


COMMAND = [sys.executable, "-m", "tenant_lifecycle.cli", "op", "watch", "acme"]
ENVIRONMENT = {"BLUE_DSN": "dbname=blue", "GREEN_DSN": "dbname=green"}


def heed_ctrl_c() -> None:
    """Tests that run in the background of a shell inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_detaches_says_how_to_come_back_and_changes_nothing(
    tmp_path: Path, waiting: tuple[Operations, Operation]
) -> None:
    operations, made = waiting
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c,
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


def test_on_a_terminal_the_tree_is_drawn_with_the_steps_ahead(
    tmp_path: Path, waiting: tuple[Operations, Operation]
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {**os.environ, **ENVIRONMENT, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    environment.pop("CI", None)
    process = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        preexec_fn=heed_ctrl_c,
    )
    os.close(theirs)
    seen = b""
    while b"empty" not in seen and b"keep the old side ready" not in seen:
        assert select.select([ours], [], [], 30)[0], seen
        seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    os.close(ours)
    text = seen.decode()
    assert "○ copy what is there" in text
    assert "Waits for a driver" in text


def test_a_timeout_while_watching_as_json_still_ends_with_the_summary(
    run: Run, service: ScriptedLifecycle
) -> None:
    service.script.hold.clear()
    run("migrate", "start", "acme", "--to", "green")
    ran = run("op", "watch", "acme", "--json", "--timeout", "400ms")
    assert ran.code == 8
    assert json.loads(ran.out.splitlines()[-1])["message_type"] == "summary"
