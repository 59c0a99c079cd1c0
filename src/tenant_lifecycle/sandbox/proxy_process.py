"""One proxy as a child process: started, ended and killed by its own process id, its words kept in a log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tenant_lifecycle.sandbox.guardian import guard


class ProxyFailed(RuntimeError):
    """The proxy did not start; the message has the end of its log."""


class ProxyProcess:
    """At most one process per folder; another process of ours that finds the folder can end it too."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        process = self._process()
        return None if process is None else int(process.pid)

    def start(self, command: Sequence[str], ready: Callable[[], bool], timeout_s: float = 60) -> None:
        """Start it and wait until it is ready; running already: does nothing."""
        if self.pid is not None:
            return
        before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            # Ctrl-C is for us, not for servers; ours are ended by whoever started them.
            self._child = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True
            )
        guard(self._child.pid)
        self._pid_file.write_text(f"{self._child.pid} {psutil.Process(self._child.pid).create_time()}")
        end = time.monotonic() + timeout_s
        while self._child.poll() is None:
            if ready():
                return
            if time.monotonic() > end:
                self.kill()
                break
            time.sleep(0.02)
        said = self._log.read_bytes()[before:][-3000:].decode(errors="replace")
        raise ProxyFailed(f"{self._name} did not start within {timeout_s:g} s:\n{said}")

    def stop(self) -> None:
        """End it with SIGTERM, and with SIGKILL if it does not go."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 and wait until it is gone."""
        self._end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if (process := self._process()) is not None:
            os.kill(process.pid, number)

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._name}.log"

    @property
    def _pid_file(self) -> Path:
        return self._folder / f"{self._name}.pid"

    def _process(self) -> Any | None:
        """The process of the pid file, if it is still the one that was started."""
        if self._child is not None:
            self._child.poll()
        try:
            pid, started = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            same = abs(process.create_time() - float(started)) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def _end(self, number: int) -> None:
        process = self._process()
        if process is None:
            return
        for attempt in (number, signal.SIGKILL):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(process.pid, attempt)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if self._process() is None:
                    return
                time.sleep(0.01)


def connects(port: int) -> bool:
    """Whether something listens on that port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
