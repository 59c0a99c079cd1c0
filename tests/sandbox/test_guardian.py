"""Servers end with the process that started them, also when it is killed; a sandbox that was put up stays up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tenant_lifecycle.sandbox.environment import Sandbox

#: Prints the process ids of its servers, and waits to be killed.
OWNER = """
import json, sys, time
from pathlib import Path
from tenant_lifecycle.sandbox.environment import Sandbox, running
from tenant_lifecycle.sandbox.parts import EVERYTHING
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.sandbox.haproxy import HAProxyServer, haproxy_program

folder = Path(sys.argv[1])
box = Sandbox(folder / "box", settings={"fsync": "off", "shared_buffers": "16MB"}, parts=EVERYTHING)
with running(box, scale=0.005), PineconeServer() as alone:
    found = [(server.name, server.pid) for server in box.servers()] + [("alone", alone.pid)]
    if haproxy_program() is not None:
        haproxy = HAProxyServer(folder / "haproxy", {"blue": ("127.0.0.1", 1)}, "blue")
        haproxy.start()
        found.append(("haproxy", haproxy.pid))
    print(json.dumps(found), flush=True)
    time.sleep(600)
"""
#: Puts a sandbox up, as the command does, and is killed before it can end in order.
COMMAND = """
import os, signal, sys
from pathlib import Path
from tenant_lifecycle.sandbox.environment import Sandbox

Sandbox(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"}).up(scale=0.005)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One that is emptied of servers whatever a test found."""
    yield tmp_path
    Sandbox.of(tmp_path / "box").down(remove=True)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_every_server_ends_with_a_process_that_is_killed(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            servers = dict(json.loads(owner.stdout.readline()))
            assert len(servers) >= 10 and all(alive(pid) for pid in servers.values())
            frozen = servers["green/postgres"]
            os.kill(frozen, signal.SIGSTOP)
        finally:
            owner.kill()
    until = time.monotonic() + 20
    while left := [name for name, pid in servers.items() if alive(pid)]:
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.05)


def test_a_sandbox_that_was_put_up_outlives_the_command(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND, str(folder / "box")], check=False)
    assert done.returncode == -signal.SIGKILL
    time.sleep(1.0)
    servers = Sandbox.of(folder / "box").servers()
    assert len(servers) == 2 and all(server.pid is not None and alive(server.pid) for server in servers)
