"""A migration on real servers, driven in this process or by a worker process that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sample_fixtures import SandboxPair
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepStatus
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.load import Load, LoadConfig
from tenant_lifecycle.sandbox.sample import PLATINUM, TENANTS, ownership_yaml
from tenant_lifecycle.wiring import Lifecycle, find_installation

TENANT = TenantId(PLATINUM)
NEIGHBOURS = (TENANTS[1].id, TENANTS[2].id)
STOPPED = TERMINAL | {State.ATTENTION, State.PAUSED}


@dataclass
class Rig:
    """Two databases, one installation, one folder."""

    pair: SandboxPair
    folder: Path
    lifecycle: Lifecycle

    def start(self, *, cutover: Cutover = Cutover.AUTO, settle_s: float = 3600.0, workers: int = 2) -> str:
        return self.lifecycle.start_migration(
            TENANT, "blue", "green", MigrationOptions(cutover, settle_s, workers), actor="test"
        )

    def wait(self, id: str, *keys: str, timeout_s: float = 150.0) -> Operation:
        """Until every step named is done, or the operation stands or ended; returns it as it is then."""
        deadline = time.monotonic() + timeout_s
        while True:
            operation = self.lifecycle.operation(id)
            done = {s.key for s in self.lifecycle.steps(id) if s.status is StepStatus.DONE}
            if operation.state in STOPPED or (keys and done.issuperset(keys)):
                return operation
            assert time.monotonic() < deadline, f"{operation.state}: {operation.why}; done {sorted(done)}"
            time.sleep(0.02)

    def output(self, id: str, key: str) -> Mapping[str, object]:
        return next(step.output or {} for step in self.lifecycle.steps(id) if step.key == key)

    @contextlib.contextmanager
    def load(self, rate: float = 50.0) -> Iterator[Load]:
        """Writers of the tenant and two neighbours for the length of the block."""
        ledger = self.folder / "ledger"
        ledger.mkdir(exist_ok=True)
        environments = {
            name: dsn.replace("user=postgres", "user=rag_app") for name, dsn in self.pair.dsns.items()
        }
        load = Load(
            LoadConfig(environments, {TENANT: 2, NEIGHBOURS[0]: 1, NEIGHBOURS[1]: 1}, ledger, rate=rate)
        )
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def judge(self, writer: str) -> LedgerReport:
        """What the ledger says about the tenant at ``writer`` and the neighbours on blue."""
        folder = self.folder / "ledger"
        report = check(folder, self.pair.dsns[writer], [TENANT]) + check(folder, self.pair.blue, NEIGHBOURS)
        assert report.acknowledged > 0
        return report

    def rows(self, environment: str, tenant: str = TENANT) -> dict[str, int]:
        """Exact rows by table."""
        store = self.lifecycle.stores[environment]["postgres"]
        return {size.name: size.items for size in store.inventory(TenantId(tenant), exact=True)}

    def consistent(self) -> bool:
        return self.lifecycle.verify(TENANT, "blue", "green").consistent

    def slots(self) -> int:
        """Replication slots left on both servers that belong to this rig's databases."""
        total = 0
        for dsn in self.pair.dsns.values():
            with psycopg.connect(dsn) as conn:
                total += conn.execute(
                    "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
                ).fetchone()[0]
        return total

    def worker(self, host: str = "a") -> WorkerProcess:
        """A worker process of its own, as in production; another ``host`` has another state folder."""
        return WorkerProcess(self.folder, host)


class WorkerProcess:
    """``tenantctl worker run``, to be killed."""

    def __init__(self, folder: Path, host: str) -> None:
        self._log = (folder / "worker.log").open("ab")
        file = folder / f"lifecycle-{host}.yaml"
        file.write_text((folder / "lifecycle.yaml").read_text() + f"state_folder: state-{host}\n")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tenant_lifecycle.cli", "-v", "-c", str(file), "worker", "run"],
            stdout=self._log, stderr=self._log, start_new_session=True, env=os.environ.copy(),
        )  # fmt: skip

    def kill(self) -> None:
        """kill -9, and wait for it to be gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self._log.closed:
            self._log.close()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def make_rig(
    pair: SandboxPair, folder: Path, *, policies: str = "", dsns: Mapping[str, str] | None = None
) -> Rig:
    """Write the two files and open the installation; ``dsns``: how the tool, not the load, reaches the servers."""
    (folder / "ownership.yaml").write_text(ownership_yaml())
    stores = "\n".join(
        f"  {name}:\n    stores:\n      postgres: {{kind: postgres, dsn: {json.dumps(dsn)}}}"
        for name, dsn in (dsns or pair.dsns).items()
    )
    (folder / "lifecycle.yaml").write_text(f"version: 1\nenvironments:\n{stores}\n{policies}")
    return Rig(pair, folder, Lifecycle(find_installation(folder / "lifecycle.yaml")))
