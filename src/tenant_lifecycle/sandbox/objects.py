"""A real object server on this machine: a ``moto_server`` process, which speaks S3 over HTTP.

It is an emulator, not Amazon S3, and it keeps everything in memory: a server that was stopped, killed or
restarted comes back with its buckets empty. It checks no credentials.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from tenant_lifecycle.sandbox.guardian import guard
from tenant_lifecycle.sandbox.object_faults import CONTROL
from tenant_lifecycle.sandbox.postgres import ServerFailed, free_port

__all__ = ["ObjectServer"]

#: The module that is run.
EMULATOR = "tenant_lifecycle.sandbox.object_emulator"
#: Importing the emulator takes a second or two, more on a busy machine.
START_TIMEOUT_S = 90.0
PORT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 30.0
_VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@dataclass
class ObjectServer:
    """One server; started, stopped, killed, paused and restarted by its process id.

    Its ``folder`` holds a log and a file with process id and port, by which a later process finds it again.
    As a context manager it is started at the beginning and stopped at the end, whatever happens between.
    """

    folder: Path
    #: Another one is taken if it turns out to be in use when the server is started the first time.
    port: int = field(default_factory=free_port)
    #: Made, with versioning on, at every start.
    buckets: tuple[str, ...] = ()
    _was_up: bool = field(default=False, repr=False)

    @property
    def endpoint(self) -> str:
        """What stands as ``endpoint`` in the settings of a store."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when it is not running."""
        process = self._process()
        return None if process is None else process.pid

    def start(self) -> None:
        """Start it, wait until it answers, and make its buckets; running already: learn its port.

        Raises:
            ServerFailed: it did not start.
        """
        if self._process() is None:
            self._claim_port()
            self._launch()
        else:
            self.port = int(self._file.read_text().split()[1])
        self._was_up = True
        try:
            for bucket in self.buckets:
                self.create_bucket(bucket)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it and wait until it is gone; what it held is lost."""
        self._signal(signal.SIGCONT)
        self._end(signal.SIGTERM, 5.0)
        self.kill()
        self._file.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone; what it held is lost."""
        self._end(signal.SIGKILL, 30.0)

    def restart(self) -> None:
        """Stop and start on the same port, with empty buckets."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it hangs, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        self._signal(signal.SIGCONT)

    def create_bucket(self, name: str, *, versioning: bool = True) -> None:
        """Make a bucket, if it is not there yet."""
        place = f"/{quote(name, safe='')}"
        self._ask("PUT", place, ok=(200, 409))
        if versioning:
            self._ask("PUT", f"{place}?versioning", _VERSIONING)

    def faults(self, **shares: float) -> dict[str, float]:
        """Change some faults (see `object_faults.ObjectFaults`) and return all: ``server.faults(slow_down=0.3)``.

        Raises:
            ServerFailed: no such fault, or not a share.
        """
        body = json.dumps(shares).encode()
        return dict(json.loads(self._ask("POST" if shares else "GET", CONTROL, body)))

    def remove(self) -> None:
        """Stop it and delete what it wrote."""
        self.stop()
        self.log.unlink(missing_ok=True)

    def __enter__(self) -> ObjectServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _file(self) -> Path:
        return self.folder / "objects.pid"

    def _claim_port(self) -> None:
        """Wait until the port is free if clients know it; else take another one if it is not."""
        end = time.monotonic() + PORT_TIMEOUT_S
        while not _is_free(self.port):
            if not self._was_up:
                self.port = free_port()
            elif time.monotonic() > end:
                raise ServerFailed(f"port {self.port} of the object server is in use by somebody else")
            time.sleep(0.05)

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", EMULATOR, "-H", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                # Ctrl-C is for us, not for the server.
                start_new_session=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip
        guard(process.pid)
        self._file.write_text(f"{process.pid} {self.port}\n")
        end = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                said = self.log.read_bytes()[-2000:].decode(errors="replace")
                self.kill()
                raise ServerFailed(f"the object server did not start on port {self.port}: {said}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _ask(self, method: str, place: str, body: bytes = b"", ok: Iterable[int] = (200,)) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT_S)
        # Its address is the first thing the emulator takes the service from.
        signed = "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/s3/aws4_request"
        try:
            connection.request(method, place, body, {"Authorization": signed})
            answer = connection.getresponse()
            said = answer.read(2000)
        finally:
            connection.close()
        if answer.status not in ok:
            raise ServerFailed(f"{method} {place}: {answer.status} {said.decode(errors='replace')}")
        return said

    def _process(self) -> psutil.Process | None:
        """The process of our file, if it still is a server on that port."""
        try:
            pid, port = self._file.read_text().split()
            process = psutil.Process(int(pid))
            command = process.cmdline()
            if process.status() == psutil.STATUS_ZOMBIE or EMULATOR not in command or port not in command:
                return None
        except (OSError, ValueError, psutil.NoSuchProcess, psutil.ZombieProcess):
            return None
        return process

    def _signal(self, number: signal.Signals) -> psutil.Process | None:
        process = self._process()
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return process

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        """Signal it and wait until it is gone: one that is ending has no command line any more."""
        process = self._signal(number)
        end = time.monotonic() + timeout_s
        while process is not None and time.monotonic() < end and _is_alive(process):
            time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    """Running, and not dead and merely uncollected by whoever has to."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: connections of its predecessor that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
