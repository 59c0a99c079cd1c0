"""A server that is one process: started in the background, found again by other commands, ended by its id.

Its folder has a note of which process it is (a process id alone may be somebody else's by now) and its log.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tenant_lifecycle.sandbox.guardian import guard
from tenant_lifecycle.sandbox.postgres import ServerFailed, free_port

#: How long it may take to answer, and to end when it is asked to, before it is killed.
START_S, STOP_S = 60.0, 15.0


@dataclass
class Process:
    """One server process; `start` and `stop` may be called by different processes of ours."""

    #: For people: ``green/app``.
    name: str
    folder: Path
    #: The program and its arguments for a port.
    command: Callable[[int], Sequence[str]]
    #: Whether it answers on a port.
    answers: Callable[[int], bool]
    #: Another one is taken if it is in use when the server is started the first time.
    port: int = field(default_factory=free_port)
    environ: Mapping[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Its process id; None when it is not running."""
        process = self._process()
        return None if process is None else int(process.pid)

    def start(self) -> None:
        """Start it and wait until it answers; running already: learn its port.

        Raises:
            ServerFailed: it ended, or did not answer in time.
        """
        if self.pid is not None:
            self.port = int(self._note()["port"])
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for last in (False, False, False, False, True):
            try:
                self._start()
            except ServerFailed as exc:
                if last or "address already in use" not in str(exc).lower():
                    raise
                # Clients know the port of a server that was up before: wait for it. Else take another.
                if self._was_up.exists():
                    time.sleep(0.5)
                else:
                    self.port = free_port()
            else:
                self._was_up.touch()
                return

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not. Safe to repeat."""
        process = self._process()
        if process is None:
            return
        self.resume()
        process.terminate()
        if not self._wait(process, STOP_S):
            process.kill()
            self._wait(process, STOP_S)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        process = self._process()
        if process is not None:
            process.kill()
            self._wait(process, STOP_S)

    def pause(self) -> None:
        """SIGSTOP: it hangs, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                list(self.command(self.port)), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                # Ctrl-C is for us, not for the servers.
                start_new_session=True, env={**os.environ, **self.environ},
            )  # fmt: skip
        try:
            guard(self._child.pid)
            self._write_note(self._child.pid)
            end = time.monotonic() + START_S
            while not self.answers(self.port):
                if self._child.poll() is not None or time.monotonic() > end:
                    said = self.log.read_bytes()[before:][-3000:].decode(errors="replace").strip()
                    raise ServerFailed(f"{self.name} did not start: {said or 'it said nothing'}")
                time.sleep(0.05)
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise

    def _write_note(self, pid: int) -> None:
        note = {"pid": pid, "born": psutil.Process(pid).create_time(), "port": self.port}
        half = self._note_file.with_suffix(".new")
        half.write_text(json.dumps(note))
        half.replace(self._note_file)

    @property
    def _note_file(self) -> Path:
        return self.folder / "process.json"

    @property
    def _was_up(self) -> Path:
        return self.folder / "was-up"

    def _note(self) -> dict[str, float]:
        note: dict[str, float] = json.loads(self._note_file.read_text())
        return note

    def _process(self) -> psutil.Process | None:
        """The process of the note, if it still is that one."""
        try:
            note = self._note()
            process = psutil.Process(int(note["pid"]))
            if process.create_time() != note["born"] or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process

    def _signal(self, number: signal.Signals) -> None:
        process = self._process()
        if process is not None:
            process.send_signal(number)

    def _wait(self, process: psutil.Process, timeout_s: float) -> bool:
        """Whether it is gone in time; a child of ours is collected."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._child is not None:
                self._child.poll()
            try:
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    return True
            except psutil.NoSuchProcess:
                return True
            time.sleep(0.02)
        return False


def http_answers(path: str) -> Callable[[int], bool]:
    """Whether anything at all answers HTTP requests to ``path`` on a port of this machine."""

    def ask(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    return ask
