"""A process of its own that drives operations, so that a terminal can be closed and Ctrl-C stops nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenant_lifecycle.errors import ConflictError
from tenant_lifecycle.wiring.installation import Installation

#: It ends by itself after so long without anything to do; the next command that needs one starts another.
IDLE_EXIT_S = 60.0


@contextmanager
def only_runner(folder: Path) -> Iterator[None]:
    """Hold this host's runner lock; it is gone with the process, however that ends.

    Raises:
        ConflictError: another runner of this installation runs here.
    """
    with only_one(_lock_file(folder), "a runner"):
        yield


@contextmanager
def only_one(lock: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file; the lock is gone with the process, however that ends. ``wait_s``: who only looks lets go soon.

    Raises:
        ConflictError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    give_up = time.monotonic() + wait_s
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() >= give_up:
                    raise ConflictError(
                        f"{what} of this installation is running on this host already"
                    ) from exc
                time.sleep(0.05)
        yield


def runner_lives(folder: Path) -> bool:
    """Whether a process holds the runner lock."""
    with _lock_file(folder).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def ensure_runner_process(installation: Installation) -> None:
    """Start a detached runner unless one runs; return once it holds the lock.

    Raises:
        ConflictError: it did not come up; its log says why.
    """
    folder = installation.state_folder
    if installation.file is None or runner_lives(folder):
        return
    log = folder / "runner.log"
    command = [sys.executable, "-m", "tenant_lifecycle.cli", "--config", str(installation.file.absolute())]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "worker", "run", "--idle-exit", f"{IDLE_EXIT_S:.0f}s"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        if runner_lives(folder):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise ConflictError(
        f"the runner process did not start; see {log}", next_step="tenantctl worker run shows why"
    )


def _lock_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / "runner.lock"
