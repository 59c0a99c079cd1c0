"""Random faults at random moments of a migration under load; afterwards every acknowledged write is accounted for.

``CHAOS_SEEDS`` (default 200) says how many seeds, ``CHAOS_FIRST`` the first of them; a failing seed can be run
alone with ``CHAOS_SEEDS=1 CHAOS_FIRST=n``. Faults: kill -9 of the worker process, SIGSTOP while a worker on
another host takes over, crash and restart of either server, connections of the tool cut or swallowed, flips
back and forth. Checked at the end: nothing lost, doubled, back or stale (I1-I3, I5); where no server was
restarted, no write failed and no pause of the tenant was longer than the fence's time to live allows (I6),
and no neighbour saw an error (I7); epochs only grew (I4).
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from rig import NEIGHBOURS, TENANT, Rig, WorkerProcess, make_rig
from sample_fixtures import SandboxPair
from tenant_lifecycle.errors import ConflictError
from tenant_lifecycle.model.operation import TERMINAL, State
from tenant_lifecycle.sandbox.ledger import Outcome, read_ledger
from tenant_lifecycle.testing.proxy import FaultProxy

SEEDS = range(
    int(os.environ.get("CHAOS_FIRST", "1")),
    int(os.environ.get("CHAOS_FIRST", "1")) + int(os.environ.get("CHAOS_SEEDS", "200")),
)
#: The fence's time to live (2 s), and what a busy machine adds.
LONGEST_PAUSE_MS = 4000.0


@dataclass
class Chaos:
    """One run: the rig, its worker, and the faults done so far."""

    rig: Rig
    dice: random.Random
    proxies: dict[str, FaultProxy]
    operation: str = ""
    worker: WorkerProcess | None = None
    stopped: list[WorkerProcess] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    hosts: int = 0

    def kill_worker(self) -> None:
        if self.worker is not None:
            self.worker.kill()
        self.worker = self.rig.worker()

    def freeze_worker(self) -> None:
        """The driver sleeps past its lease; another host takes over; then the zombie wakes up."""
        assert self.worker is not None
        self.worker.pause()
        self.stopped.append(self.worker)
        self.hosts += 1
        self.worker = self.rig.worker(f"host{self.hosts}")
        time.sleep(self.dice.uniform(8.0, 14.0))
        self.stopped[-1].go_on()
        time.sleep(0.5)
        self.stopped.pop().kill()

    def crash_blue(self) -> None:
        self._crash("blue")

    def crash_green(self) -> None:
        self._crash("green")

    def _crash(self, name: str) -> None:
        server = self.rig.pair.blue_server if name == "blue" else self.rig.pair.green_server
        server.kill()
        server.start()

    def cut(self) -> None:
        self.proxies[self.dice.choice(["blue", "green"])].cut()

    def swallow(self) -> None:
        proxy = self.proxies[self.dice.choice(["blue", "green"])]
        proxy.black_hole()
        time.sleep(self.dice.uniform(0.1, 3.0))
        proxy.cut()
        proxy.heal()

    def flip(self) -> None:
        with suppress(ConflictError):
            self.rig.lifecycle.signal(
                self.operation, self.dice.choice(["rollback", "promote"]), actor="chaos"
            )

    def one(self) -> None:
        faults = [self.kill_worker, self.cut, self.swallow, self.flip, self.flip, self.flip]
        if self.dice.random() < 0.15:
            faults = [self.freeze_worker]
        elif self.dice.random() < 0.2:
            faults = [self.crash_blue, self.crash_green]
        fault = self.dice.choice(faults)
        self.done.append(fault.__name__)
        fault()

    def finish(self) -> str:
        """Let it come to an end, one way or the other; return the writer."""
        ending = self.dice.choice(["complete", "abort"])
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            operation = self.rig.lifecycle.operation(self.operation)
            if operation.state in TERMINAL:
                return self.rig.lifecycle.home(TENANT)
            if self.worker is None or self.worker.process.poll() is not None:
                self.worker = self.rig.worker()
            with suppress(ConflictError):
                if operation.state is State.ATTENTION and "abort" not in ending:
                    ending = "abort after attention"
                if ending == "complete":
                    self.rig.lifecycle.signal(self.operation, "promote", actor="chaos")
                    self.rig.lifecycle.signal(self.operation, "complete", actor="chaos")
                elif not operation.aborting or operation.state is State.ATTENTION:
                    self.rig.lifecycle.abort(self.operation, actor="chaos")
            time.sleep(0.5)
        operation = self.rig.lifecycle.operation(self.operation)
        raise AssertionError(f"{operation.state} ({operation.why}) {operation.error} after {self.done}")


def through(proxy: FaultProxy, dsn: str) -> str:
    return re.sub(r"port=\d+", f"port={proxy.port}", dsn)


def epochs(rig: Rig) -> int:
    """The highest epoch either side knows."""
    found = [0]
    for dsn in rig.pair.dsns.values():
        with suppress(psycopg.Error), psycopg.connect(dsn) as conn:
            found += [e for (e,) in conn.execute("SELECT epoch FROM tenant_lifecycle.fence").fetchall()]
    return max(found)


@pytest.mark.chaos
@pytest.mark.timeout(700)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_acknowledged_write_survives(
    seed: int, sandbox_pair: Callable[..., SandboxPair], tmp_path: Path
) -> None:
    dice = random.Random(seed)
    pair = sandbox_pair(16, 18)
    with ExitStack() as stack:
        proxies = {
            "blue": stack.enter_context(FaultProxy("127.0.0.1", pair.blue_server.port)),
            "green": stack.enter_context(FaultProxy("127.0.0.1", pair.green_server.port)),
        }
        dsns = {name: through(proxies[name], dsn) for name, dsn in pair.dsns.items()}
        rig = make_rig(pair, tmp_path, dsns=dsns)
        stack.callback(rig.lifecycle.close)
        chaos = Chaos(rig, dice, proxies)
        stack.callback(
            lambda: [worker.kill() for worker in [chaos.worker, *chaos.stopped] if worker is not None]
        )
        with rig.load(60):
            chaos.operation = rig.start(workers=2)
            chaos.worker = rig.worker()
            epoch = 0
            for _ in range(dice.randint(3, 6)):
                time.sleep(dice.uniform(0.0, 2.0))
                chaos.one()
                assert epochs(rig) >= epoch, "I4"
                epoch = epochs(rig)
            writer = chaos.finish()
            time.sleep(0.3)
        judge(rig, chaos, writer)


def judge(rig: Rig, chaos: Chaos, writer: str) -> None:
    report = rig.judge(writer)
    told = f"writer {writer}, faults {chaos.done}, {report.violations[:5]}"
    assert report.ok, told
    if any(name.startswith("crash") for name in chaos.done):
        return
    entries = [entry for entry in read_ledger(rig.folder / "ledger") if entry.seq > 0]
    assert not [e for e in entries if e.outcome is not Outcome.ACK], told
    for tenant, limit in [(TENANT, LONGEST_PAUSE_MS), *((n, LONGEST_PAUSE_MS / 2) for n in NEIGHBOURS)]:
        slowest = max((e.ended - e.began) * 1e3 for e in entries if e.tenant == tenant and e.ended)
        assert slowest < limit, f"{tenant}: {slowest:.0f} ms; {told}"
