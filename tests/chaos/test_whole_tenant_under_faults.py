"""Random faults while a whole tenant moves and people use it over HTTP; every acknowledged request is accounted for.

``CHAOS_WHOLE_SEEDS`` (default 20) says how many seeds, ``CHAOS_FIRST`` the first of them. Faults: kill -9 of the
worker, kill -9 and restart of either Redis (with its append-only file) and of the vector emulator (with its
file), a vector service that throttles or is stale, an object store that answers nothing for a while, Envoy and
an application killed and started again, flips back and forth. Requests may fail while what serves them is down;
what was acknowledged must be on the writer, in every store, once, and nothing deleted may be back.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rig import WorkerProcess
from tenant_lifecycle.errors import ConflictError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.http_load.load import HttpLoad
from tenant_lifecycle.sandbox.ledger_check import check
from tenant_lifecycle.sandbox.parts import EVERYTHING
from tenant_lifecycle.sandbox.sample import TENANTS
from tenant_lifecycle.wiring import Lifecycle, find_installation

FIRST = int(os.environ.get("CHAOS_FIRST", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("CHAOS_WHOLE_SEEDS", "20")))
#: Small ones; each moves once, so a sandbox serves as many seeds.
MOVING = [tenant.id for tenant in TENANTS[8:]]
_PATIENCE_S = 180.0


@dataclass
class Chaos:
    """One run."""

    box: Sandbox
    lifecycle: Lifecycle
    dice: random.Random
    id: str
    worker: WorkerProcess
    done: list[str] = field(default_factory=list)

    def kill_worker(self) -> None:
        self.worker.kill()
        self.worker = WorkerProcess(self.box.folder, "a")

    def restart(self, name: str) -> Callable[[], None]:
        def again() -> None:
            server = self.box.any_server(name)
            server.kill()
            time.sleep(self.dice.uniform(0.0, 0.5))
            server.start()

        again.__name__ = f"restart {name}"
        return again

    def silent_objects(self) -> None:
        pid = self.box.any_server("objects").pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.dice.uniform(0.2, 2.0))
        os.kill(pid, signal.SIGCONT)

    def busy_vectors(self) -> None:
        self._vectors(throttle=0.3, errors=0.05)
        time.sleep(self.dice.uniform(0.5, 2.0))
        self._vectors(throttle=0.0, errors=0.0)

    def stale_vectors(self) -> None:
        self._vectors(stale_ms=300)
        time.sleep(self.dice.uniform(0.5, 2.0))
        self._vectors(stale_ms=0)

    def _vectors(self, **faults: float) -> None:
        address = f"http://127.0.0.1:{self.box.any_server('vectors').port}/_emulator/faults"
        request = urllib.request.Request(
            address, json.dumps(faults).encode(), {"content-type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=10).read()

    def flip(self) -> None:
        with suppress(ConflictError):
            self.lifecycle.signal(self.id, self.dice.choice(["rollback", "promote"]), actor="chaos")

    def one(self) -> None:
        faults: list[Callable[[], None]] = [
            self.kill_worker, self.silent_objects, self.busy_vectors, self.stale_vectors, self.flip, self.flip,
            *(self.restart(n) for n in ("blue/redis", "green/redis", "vectors", "router", "green/app")),
        ]  # fmt: skip
        fault = self.dice.choice(faults)
        self.done.append(fault.__name__)
        fault()

    def finish(self) -> str:
        """Let it come to an end, one way or the other; return the writer."""
        ending = self.dice.choice(["complete", "abort"])
        end = time.monotonic() + _PATIENCE_S
        while True:
            operation = self.lifecycle.operation(self.id)
            if operation.state in TERMINAL:
                return self.lifecycle.home(TenantId(operation.tenant_id))
            assert time.monotonic() < end, f"{operation.state} {operation.why} {operation.error} {self.done}"
            if self.worker.process.poll() is not None:
                self.worker = WorkerProcess(self.box.folder, "a")
            if operation.state is State.ATTENTION:
                ending = "abort"
            with suppress(ConflictError):
                if ending == "complete":
                    self.lifecycle.signal(self.id, "promote", actor="chaos")
                    self.lifecycle.signal(self.id, "complete", actor="chaos")
                elif not operation.aborting or operation.state is State.ATTENTION:
                    self.lifecycle.abort(self.id, actor="chaos")
            time.sleep(0.5)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(
        tmp_path_factory.mktemp("whole") / "sandbox", parts=EVERYTHING, settings={"fsync": "off"}
    )
    with running(sandbox, scale=0.2, green=Fill.RESIDENTS):
        yield sandbox


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_acknowledged_request_survives_in_every_store(seed: int, box: Sandbox, tmp_path: Path) -> None:
    dice = random.Random(seed)
    tenant = TenantId(MOVING[seed % len(MOVING)])
    with Lifecycle(find_installation(box.folder / "lifecycle.yaml")) as lifecycle:
        if lifecycle.home(tenant) != "blue":
            pytest.skip(f"{tenant} has moved already; a sandbox serves {len(MOVING)} seeds")
        load = HttpLoad(HttpLoadConfig([box.urls["router"]], {tenant: 6, "globex": 1}, tmp_path, rate=20))
        load.start()
        options = MigrationOptions(Cutover.AUTO, 3600.0, 2, cutover_steps=())
        id = lifecycle.start_migration(tenant, "blue", "green", options, actor="chaos")
        chaos = Chaos(box, lifecycle, dice, id, WorkerProcess(box.folder, "a"))
        try:
            for _ in range(dice.randint(3, 6)):
                time.sleep(dice.uniform(0.0, 4.0))
                chaos.one()
            writer = chaos.finish()
            time.sleep(0.5)
        finally:
            chaos.worker.kill()
            load.stop()
    for environment, name in ((writer, tenant), ("blue", "globex")):
        with box.items(environment) as items:
            report = check(tmp_path, box.dsn(environment), [name], items)
        assert report.ok, f"writer {writer}, faults {chaos.done}, {report.violations[:5]}"
        assert report.acknowledged > 0
