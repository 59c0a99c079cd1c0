"""The emulator as a process: started, stopped, killed, paused and told its faults, on a port of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tenant_lifecycle.sandbox.guardian import guard
from tenant_lifecycle.sandbox.postgres import ServerFailed, free_port


@dataclass
class PineconeServer:
    """One emulator; as a context manager it is started at the beginning and stopped at the end.

    ``host`` and any API key are what the SDK needs: ``Pinecone(api_key="local", host=server.host)``.
    """

    #: The index it has from the start; None: none. More are created through the SDK.
    index: str | None = "documents"
    dimension: int = 8
    metric: str = "cosine"
    #: Whether the index takes sparse values too.
    sparse: bool = False
    #: Keeps accepted writes, so that they outlive `stop` and `kill`; None: in memory only.
    file: Path | None = None
    #: Demanded of every request; empty: any key will do.
    api_key: str = ""
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Its address with the scheme: the control plane, and the data plane of its only index."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def command(self) -> list[str]:
        """What `start` runs."""
        command = [sys.executable, "-m", "tenant_lifecycle.sandbox.pinecone", "--port", str(self.port)]
        if self.index:
            command += ["--index", self.index, "--dimension", str(self.dimension), "--metric", self.metric]
            command += ["--sparse"] if self.sparse else []
        command += ["--file", str(self.file)] if self.file else []
        command += ["--api-key", self.api_key] if self.api_key else []
        return command

    def start(self, timeout_s: float = 30) -> None:
        """Start it and wait until it answers; running already: do nothing.

        Raises:
            ServerFailed: it did not start; the message has what it said.
        """
        if self.pid is not None:
            return
        # In a session of its own: Ctrl-C is for us, who then stop it.
        self._process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        guard(self._process.pid)
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.pid is not None:
            try:
                self.requests()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.kill()
        raise ServerFailed(f"the Pinecone emulator did not start on port {self.port}")

    def stop(self) -> None:
        """End it in order; safe to repeat."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9; what was accepted is in ``file``, if there is one."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it hangs, its connections stay open."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        self._send(signal.SIGCONT)

    def faults(self, **values: Any) -> dict[str, Any]:
        """Change some faults (see `faults.Faults`) and return all: ``server.faults(throttle=0.3)``."""
        return self._control("faults", values or None)

    def requests(self) -> dict[str, int]:
        """How many requests it had, by method and path."""
        return self._control("requests", None)

    def __enter__(self) -> PineconeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, name: str, values: dict[str, Any] | None) -> dict[str, Any]:
        data = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(f"{self.host}/_emulator/{name}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as exc:
            raise ValueError(json.load(exc)["error"]["message"]) from exc

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._send(signal.SIGCONT)
        self._send(number)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
