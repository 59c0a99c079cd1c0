"""A control database, two cupboards (one of them the judge), a box, and everything that a restore needs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cupboard import BoxRepository, Cupboard, CupboardStore, Fencing

from dying import killed_at
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.engine.driver import Driver
from tenant_lifecycle.engine.runner import sweep
from tenant_lifecycle.model.backup.policy import RestorePolicy
from tenant_lifecycle.model.backup.when import read_point
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, NewOperation, Operation, Outputs, State
from tenant_lifecycle.operations.backup.definition import Backup
from tenant_lifecycle.operations.backup.session import BackupSession
from tenant_lifecycle.operations.restore.definition import Restore
from tenant_lifecycle.operations.restore.moments import Chosen, choose, moment_of
from tenant_lifecycle.operations.restore.planning import RestorePlan, plan_restore
from tenant_lifecycle.operations.restore.session import RestoreSession

ACME = TenantId("acme")
NEIGHBOURS = ("acme2", "ac", "acme'; DROP TABLE item; --")
ASKER, OTHER = "petra@desk", "otto@desk"


@dataclass
class Stage:
    """One tenant with neighbours in two stores."""

    db: ControlDatabase
    folder: Path
    policy: RestorePolicy = field(default_factory=RestorePolicy)

    def __post_init__(self) -> None:
        self.journal, self.operations = SqlJournal(self.db), Operations(self.db)
        self.rows, self.cache = Cupboard(self.folder / "rows"), Cupboard(self.folder / "cache")
        self.repository = BoxRepository(self.folder / "box", ACME)
        for number in range(4):
            for owner in (ACME, *NEIGHBOURS):
                self.rows.write(owner, f"d{number}", f"{owner} {number}")
                self.cache.write(owner, f"k{number}", f"{owner} {number}", "messages")

    def stores(self) -> Mapping[str, CupboardStore]:
        return {"rows": Fencing(self.rows, "blue/rows"), "cache": CupboardStore(self.cache, "blue/cache")}

    def open(self, operation: Operation, token: int) -> BackupSession:
        return BackupSession(
            operation.id,
            ACME,
            token,
            "blue",
            self.stores(),
            self.repository,
            "gold",
            FlipBudget(fence_ttl_s=1.0),
        )

    def open_restore(self, operation: Operation, token: int) -> RestoreSession:
        spec = operation.spec
        chosen = Chosen(spec["at_us"], spec["base"])
        return RestoreSession(self.open(operation, token), chosen, spec.get("only") or {}, self.policy)

    def driver(self) -> Driver:
        return Driver(self.journal, [Backup(self.open), Restore(self.open_restore)], ttl_s=30.0)

    # -- what lies where

    def live(self) -> dict[str, dict[tuple[str, str], str]]:
        return {"rows": self.rows.items(ACME), "cache": self.cache.items(ACME)}

    def neighbours(self) -> dict[str, object]:
        return {name: (self.rows.items(name), self.cache.items(name)) for name in NEIGHBOURS}

    def ruin(self) -> None:
        """What ransomware does: some is overwritten, some deleted, some added."""
        self.rows.write(ACME, "d0", "ENCRYPTED")
        self.rows.write(ACME, "d1", None)
        self.rows.write(ACME, "README", "pay")
        self.cache.write(ACME, "k3", None, "messages")

    # -- doing it

    def backup(self, **spec: object) -> Operation:
        new = NewOperation("backup", Backup.name, ACME, ASKER, {"environment": "blue", **spec})
        return self.drive(self.operations.create(new).id)

    def plan(self, text: str, only: Mapping[str, Sequence[str]] | None = None) -> RestorePlan:
        chosen = choose(self.repository, read_point(text), time.time_ns() // 1000)
        moment = moment_of(self.repository, chosen)
        return plan_restore(moment, chosen, ACME, "blue", self.stores(), only or {}, ())

    def restore(self, text: str, **spec: object) -> Operation:
        """Started and driven until it waits for a word, or ended."""
        plan = self.plan(text)
        given = {
            "environment": "blue",
            "at_us": plan.chosen.at_us,
            "base": plan.chosen.base,
            "stores": [one.store for one in plan.stores],
            **spec,
        }
        new = NewOperation("restore", Restore.name, ACME, ASKER, given, plan_hash=plan.hash)
        return self.drive(self.operations.create(new).id)

    def say(self, operation: Operation, word: str, actor: str = OTHER) -> Operation:
        self.operations.signal(operation.id, word, actor=actor)
        return self.drive(operation.id)

    def drive(self, operation_id: str) -> Operation:
        for _ in range(60):
            sweep(self.journal)
            self.driver().drive(operation_id)
            operation = self.operations.get(operation_id)
            waits = operation.state is State.WAITING and operation.wake_signals
            if operation.state in TERMINAL | {State.ATTENTION, State.PAUSED} or waits:
                return operation
            time.sleep(0.05)
        raise AssertionError(f"{operation_id} does not get anywhere: {self.operations.get(operation_id)}")

    def outputs(self, operation: Operation) -> Outputs:
        return Outputs.of(tuple(self.operations.steps(operation.id)))

    def piles(self) -> list[str]:
        return [name for store in self.stores().values() for name in store.previews()]

    def drive_and_die(self, operation_id: str, point: tuple[type, str], nth: int, after: bool) -> bool:
        """Drive in a child that kills itself at the nth call of a method; whether it got there."""
        self.db.close()
        return killed_at(point, nth, after, lambda: self.driver().drive(operation_id))
