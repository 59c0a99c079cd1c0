"""What can happen to a whole tenant on its way: the faults of one run, drawn from its dice."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from rig import WorkerProcess
from tenant_lifecycle.errors import ConflictError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State
from tenant_lifecycle.sandbox.environment import Sandbox
from tenant_lifecycle.sandbox.haproxy import HAProxyServer
from tenant_lifecycle.sandbox.http_load.load import HttpLoad
from tenant_lifecycle.sandbox.servers import Server
from tenant_lifecycle.wiring import Lifecycle

Fault = Callable[[], None]
#: Of the object store; shares of its requests.
OBJECT_TROUBLE = (
    {"slow_down": 0.4},
    {"errors": 0.3},
    {"resets": 0.3},
    {"slow_down": 0.2, "errors": 0.1, "resets": 0.1},
)
RESTARTED = ("blue/redis", "green/redis", "vectors", "router", "blue/app", "green/app")
_PATIENCE_S = 240.0


@dataclass(frozen=True)
class Place:
    """The sandbox, and HAProxy in front of the same applications if this machine has it."""

    box: Sandbox
    haproxy: HAProxyServer | None

    @property
    def doors(self) -> list[str]:
        """Addresses of the routers."""
        return [self.box.urls["router"], *([self.haproxy.address] if self.haproxy else [])]

    def server(self, name: str) -> Server | HAProxyServer:
        """By its name in the sandbox, or ``haproxy``."""
        if name != "haproxy":
            return self.box.any_server(name)
        assert self.haproxy is not None
        return self.haproxy

    def tell(self, emulator: str, **faults: float) -> None:
        """Switch faults of an emulator."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server(emulator).port}/_emulator/faults",
            json.dumps(faults).encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).read()


@dataclass
class Chaos:
    """One run."""

    place: Place
    lifecycle: Lifecycle
    dice: random.Random
    id: str
    worker: WorkerProcess
    #: What people do meanwhile.
    load: HttpLoad
    done: list[str] = field(default_factory=list)

    def one(self) -> None:
        """A fault, over when this returns (but for flips, and what it broke)."""
        name, fault = self.dice.choice(self._faults())
        self.done.append(name)
        fault()

    def finish(self) -> str:
        """Let it come to an end, one way or the other; return the writer.

        On a machine that is so busy that changes arrive faster than they are carried, people rest after a while.
        """
        ending = self.dice.choice(["complete", "abort"])
        end = time.monotonic() + _PATIENCE_S
        resting = time.monotonic() + _PATIENCE_S / 4
        while (operation := self.lifecycle.operation(self.id)).state not in TERMINAL:
            assert time.monotonic() < end, f"{operation.state} {operation.why} {operation.error} {self.done}"
            if self.worker.process.poll() is not None:
                self._new_worker()
            if time.monotonic() > resting:
                self.load.stop()
            if operation.state is State.ATTENTION:
                ending = "abort"
            self._towards(ending, operation)
            time.sleep(0.5)
        return self.lifecycle.home(TenantId(operation.tenant_id))

    def _towards(self, ending: str, operation: Operation) -> None:
        with suppress(ConflictError):
            if ending == "complete":
                self.lifecycle.signal(self.id, "promote", actor="chaos")
                self.lifecycle.signal(self.id, "complete", actor="chaos")
            elif not operation.aborting or operation.state is State.ATTENTION:
                self.lifecycle.abort(self.id, actor="chaos")

    def _faults(self) -> list[tuple[str, Fault]]:
        restarted = [*RESTARTED, *(["haproxy"] if self.place.haproxy else [])]
        return [
            ("kill worker", self._kill_worker),
            ("silent objects", self._silent_objects),
            *[("failing objects", self._failing_objects)] * 2,
            ("busy vectors", lambda: self._trouble("vectors", {"throttle": 0.3, "errors": 0.05})),
            ("stale vectors", lambda: self._trouble("vectors", {"stale_ms": 300})),
            *[("flip", self._flip)] * 2,
            *((f"restart {name}", self._restarting(name)) for name in restarted),
        ]

    def _kill_worker(self) -> None:
        self.worker.kill()
        self._new_worker()

    def _new_worker(self) -> None:
        self.worker = WorkerProcess(self.place.box.folder, "a")

    def _restarting(self, name: str) -> Fault:
        def restart() -> None:
            server = self.place.server(name)
            server.kill()
            time.sleep(self.dice.uniform(0.0, 0.5))
            server.start()

        return restart

    def _silent_objects(self) -> None:
        pid = self.place.server("objects").pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.2, 2.0))
        os.kill(pid, signal.SIGCONT)

    def _failing_objects(self) -> None:
        self._trouble("objects", self.dice.choice(OBJECT_TROUBLE))

    def _trouble(self, emulator: str, faults: dict[str, float]) -> None:
        self.place.tell(emulator, **faults)
        time.sleep(self.dice.uniform(0.5, 3.0))
        self.place.tell(emulator, **dict.fromkeys(faults, 0.0))

    def _flip(self) -> None:
        with suppress(ConflictError):
            self.lifecycle.signal(self.id, self.dice.choice(["rollback", "promote"]), actor="chaos")
