"""Where drills happen: a sandbox with two databases, an installation, a runner, and a load if one is asked for."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepStatus
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check
from tenant_lifecycle.sandbox.load import Load, LoadConfig
from tenant_lifecycle.sandbox.sample import PLATINUM, TENANTS
from tenant_lifecycle.wiring import Lifecycle, find_installation

Say = Callable[[str], None]
TENANT = TenantId(PLATINUM)
NEIGHBOUR = TENANTS[1].id
ACTOR = "drill"
#: Small: a drill is about what happens, not about how much.
SCALE = 0.05


@dataclass
class Stage:
    """Everything a drill needs."""

    sandbox: Sandbox
    lifecycle: Lifecycle
    folder: Path
    say: Say

    def start(self, cutover: Cutover = Cutover.MANUAL, *, settle_s: float = 3600.0, workers: int = 2) -> str:
        """Start the tenant's move from blue to green; returns the operation's id."""
        return self.lifecycle.start_migration(
            TENANT, "blue", "green", MigrationOptions(cutover, settle_s, workers), actor=ACTOR
        )

    def signal(self, id: str, kind: str) -> None:
        self.lifecycle.signal(id, kind, actor=ACTOR)

    def wait(self, id: str, *steps: str, timeout_s: float = 120.0) -> Operation:
        """Until all of these steps are done, or the operation ended or waits for a person."""

        def there() -> bool:
            done = {s.key for s in self.lifecycle.steps(id) if s.status is StepStatus.DONE}
            stopped = self.lifecycle.operation(id).state in TERMINAL | {State.ATTENTION}
            return stopped or (bool(steps) and done.issuperset(steps))

        self.until(there, f"{', '.join(steps) or 'the end'} of the move", timeout_s)
        return self.lifecycle.operation(id)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> float:
        """Wait for it; returns the seconds it took.

        Raises:
            LifecycleError: it did not happen in time.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout_s:
                raise LifecycleError(f"the drill waited {timeout_s:.0f} s for {what}")
            time.sleep(0.02)
        return time.monotonic() - began

    def events(self, id: str, kind: str) -> list[Mapping[str, Any]]:
        """Details of the operation's events of a kind, oldest first."""
        return [event.detail for event in self.lifecycle.events(id) if event.kind == kind]

    def at(
        self,
        environment: str,
        query: str,
        values: Sequence[object] | Mapping[str, object] = (),
        *,
        triggers: bool = True,
    ) -> list[tuple[object, ...]]:
        """Ask a database directly, past everything of ours; without ``triggers`` past the fence as well."""
        role = "origin" if triggers else "replica"
        options = f"-c session_replication_role={role}"
        with psycopg.connect(self.sandbox.dsn(environment), autocommit=True, options=options) as conn:
            cursor = conn.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def load(self, rate: float = 60.0, burst: int = 0) -> Iterator[Load]:
        """Writers of the tenant and of a neighbour for the length of the block; ``burst``: rows a second, in bulk."""
        config = LoadConfig(
            {name: self.sandbox.dsn(name, "rag_app") for name in self.sandbox.dsns},
            {TENANT: 2, NEIGHBOUR: 1},
            self.folder / "ledger",
            rate=rate,
            burst={TENANT: burst} if burst else {},
        )
        load = Load(config)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def ledger(self, writer: str) -> LedgerReport:
        """What became of every acknowledged write."""
        ledger = self.folder / "ledger"
        return check(ledger, self.sandbox.dsn(writer), [TENANT]) + check(
            ledger, self.sandbox.dsn("blue"), [NEIGHBOUR]
        )


@contextmanager
def stage(say: Say, policies: str = "") -> Iterator[Stage]:
    """Servers up, filled, and gone at the end; ``policies`` is added to ``lifecycle.yaml``."""
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-drill-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting two databases ...")
        with running(Sandbox(folder / "sandbox"), scale=SCALE, green=Fill.RESIDENTS) as sandbox:
            file = sandbox.folder / "lifecycle.yaml"
            if policies:
                file.write_text(file.read_text() + policies)
            with Lifecycle(find_installation(file)) as lifecycle, lifecycle.runner():
                yield Stage(sandbox, lifecycle, folder, say)
