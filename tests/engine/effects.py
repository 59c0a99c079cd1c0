"""A small store with a fence and receipts, and the operation that the crash tests run on it.

Its steps are one of each kind. Every effect is written down with the token that caused it, so that doing
something twice, in the wrong order or in the name of an old driver is seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.items import WorkItem
from tenant_lifecycle.engine.steps import Done, Outcome, Probed, Step, StepContext, StepKind, Wait
from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.operation import Operation, Outputs, TenantUpdate

#: Keys of all steps.
ALL = ("claim", "copy", "items", "go", "announce", "switch", "retire")
#: Those whose effects are fenced: a driver stopped in the middle of any other may act after it was replaced.
FENCED = ("claim", "copy", "items", "go", "switch", "retire")
CHUNKS = 2
PARTS = 2


@dataclass
class Effects:
    """The store. ``fenced``, ``receipts`` and ``resource`` are what the mutants break."""

    path: Path
    fenced: bool = True
    receipts: bool = True
    #: What the fence protects: the tenant, as it must be.
    resource: Callable[[Operation], str] = lambda operation: operation.tenant_id

    def create(self) -> None:
        with self.connect() as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("CREATE TABLE fence (resource TEXT PRIMARY KEY, token INTEGER)")
            conn.execute("CREATE TABLE receipt (key TEXT PRIMARY KEY)")
            conn.execute("CREATE TABLE part (operation TEXT, key TEXT, PRIMARY KEY (operation, key))")
            conn.execute(
                "CREATE TABLE effect (seq INTEGER PRIMARY KEY, operation TEXT, tenant TEXT, what TEXT, token INTEGER)"
            )

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        conn = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        conn.execute("PRAGMA synchronous = OFF")
        try:
            yield conn
        finally:
            conn.close()

    @contextmanager
    def writing(self, ctx: StepContext) -> Iterator[sqlite3.Connection]:
        """A transaction that an older driver than one seen before does not get."""
        with self.connect() as conn:
            conn.execute("BEGIN IMMEDIATE")
            try:
                changed = conn.execute(
                    "INSERT INTO fence VALUES (?, ?) ON CONFLICT (resource) DO UPDATE SET token = excluded.token"
                    " WHERE fence.token <= excluded.token",
                    (self.resource(ctx.operation), ctx.token),
                ).rowcount
                if changed == 0 and self.fenced:
                    raise Fenced("an old driver token")
                yield conn
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")

    def once(self, ctx: StepContext, what: str) -> None:
        """An effect with a receipt in the same transaction."""
        with self.writing(ctx) as conn:
            key = f"{ctx.operation.id}/{what}"
            if conn.execute("INSERT OR IGNORE INTO receipt VALUES (?)", (key,)).rowcount or not self.receipts:
                self._note(conn, ctx, what)

    def put(self, ctx: StepContext, key: str) -> None:
        """An effect that may be repeated."""
        with self.writing(ctx) as conn:
            conn.execute("INSERT OR REPLACE INTO part VALUES (?, ?)", (ctx.operation.id, key))

    def outside(self, ctx: StepContext, what: str) -> None:
        """An effect on something that knows neither receipts nor fences."""
        with self.connect() as conn:
            self._note(conn, ctx, what)

    def happened(self, ctx: StepContext, what: str) -> bool:
        with self.connect() as conn:
            query = "SELECT count(*) FROM effect WHERE operation = ? AND what = ?"
            return conn.execute(query, (ctx.operation.id, what)).fetchone()[0] > 0

    def _note(self, conn: sqlite3.Connection, ctx: StepContext, what: str) -> None:
        conn.execute(
            "INSERT INTO effect (operation, tenant, what, token) VALUES (?, ?, ?, ?)",
            (ctx.operation.id, ctx.operation.tenant_id, what, ctx.token),
        )

    def of(self, operation_id: str) -> list[tuple[str, int]]:
        """Effects of an operation in the order they happened, with tokens."""
        with self.connect() as conn:
            query = "SELECT what, token FROM effect WHERE operation = ? ORDER BY seq"
            return conn.execute(query, (operation_id,)).fetchall()

    def of_tenant(self, tenant_id: str) -> list[tuple[str, int]]:
        """(operation, token) of the effects on a tenant in the order they happened."""
        with self.connect() as conn:
            query = "SELECT operation, token FROM effect WHERE tenant = ? ORDER BY seq"
            return conn.execute(query, (tenant_id,)).fetchall()

    def parts(self, operation_id: str) -> set[str]:
        with self.connect() as conn:
            rows = conn.execute("SELECT key FROM part WHERE operation = ?", (operation_id,))
            return {key for (key,) in rows}


class Short(Definition):
    """One step of each kind."""

    name = "short@1"
    kind = "migrate"

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        #: Called before and after each effect; the zombie tests stop the process in it.
        self.hook: Callable[[str], None] = lambda where: None
        self.only: tuple[str, ...] = ALL
        self.undoes = True

    def steps(self, operation: Operation, outputs: Outputs) -> list[Step]:
        return [step for step in self._all() if step.key in self.only]

    def _all(self) -> list[Step]:
        undo = self._unclaim if self.undoes else None
        return [
            Step("claim", "claim", StepKind.RECEIPT, self._claim, undo=undo),
            Step("copy", "copy", StepKind.IDEMPOTENT, self._copy),
            Step("items", "items", StepKind.IDEMPOTENT, self._items),
            Step("go", "wait for go", StepKind.WAIT, self._go),
            Step("announce", "announce", StepKind.PROBE, self._announce, probe=self._announced),
            Step("switch", "switch", StepKind.TX, self._switch),
            Step("retire", "retire", StepKind.RECEIPT, self._retire, critical=True),
        ]

    def _claim(self, ctx: StepContext) -> Outcome:
        self.hook("before claim")
        self.effects.once(ctx, "claim")
        self.hook("after claim")
        return Done({"claimed": 1})

    def _unclaim(self, ctx: StepContext) -> Outcome:
        self.effects.once(ctx, "unclaim")
        return Done()

    def _copy(self, ctx: StepContext) -> Outcome:
        for chunk in range(ctx.cursor or 0, CHUNKS):
            ctx.check()
            self.hook("before chunk")
            self.effects.put(ctx, f"chunk {chunk}")
            ctx.progress(chunk + 1, CHUNKS, cursor=chunk + 1)
        return Done({"chunks": CHUNKS})

    def _items(self, ctx: StepContext) -> Outcome:
        ctx.items.seed(WorkItem(f"item {number}") for number in range(PARTS))
        ctx.items.run(lambda item: self.effects.put(ctx, item.key))
        return Done({"items": sorted(ctx.items.outputs())})

    def _go(self, ctx: StepContext) -> Outcome:
        signal = ctx.take_signal("go")
        return Done({"signal": signal.kind}) if signal else Wait(signals=("go",), why="waits for go")

    def _announce(self, ctx: StepContext) -> Outcome:
        self.effects.outside(ctx, "announce")
        return Done()

    def _announced(self, ctx: StepContext) -> Probed:
        return Probed.DONE if self.effects.happened(ctx, "announce") else Probed.NOT_DONE

    def _switch(self, ctx: StepContext) -> Outcome:
        return Done(tenant=TenantUpdate(ctx.operation.tenant_id, environment="green"))

    def _retire(self, ctx: StepContext) -> Outcome:
        self.hook("before retire")
        self.effects.once(ctx, "retire")
        self.hook("after retire")
        return Done({"retired": 1})
