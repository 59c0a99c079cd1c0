"""What the journal adds to a step, on SQLite and on PostgreSQL, and how soon a lost driver is replaced.

The peer of a step is the least that any journal needs: two bare commits of one row (intent and outcome) on
the same database with the same durability.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from bench.measure import alternating, spread, stopwatch, until
from bench.report import Budget, Figure, Report
from bench.servers import create_database, two_servers
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.driver import Driver, Drove
from tenant_lifecycle.engine.owner import Owner
from tenant_lifecycle.engine.runner import Runner
from tenant_lifecycle.engine.steps import Done, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.model.operation import NewOperation, Operation, Outputs

#: A migration has about this many.
STEPS = 20
STEP_BUDGET_MS = 5.0
#: What taking over may last beyond the lease.
TAKE_OVER_S = 6.0


class Idle(Definition):
    """Steps that do nothing, or whatever ``work`` does."""

    name = "idle@1"
    kind = "migrate"

    def __init__(self, steps: int, work: Callable[[StepContext], None] = lambda _ctx: None) -> None:
        self._steps = steps
        self._work = work

    def _run(self, ctx: StepContext) -> Outcome:
        self._work(ctx)
        return Done({"items": 1})

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        return [Step(f"step/{n}", f"step {n}", StepKind.IDEMPOTENT, self._run) for n in range(self._steps)]


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Both databases in turn with their bare commits."""
    operations = 1 if quick else 10
    repetitions = 1 if quick else 5
    ttl_s = 2.0 if quick else 10.0
    with two_servers() as servers:
        stores = {
            "SQLite": str(servers.folder / "control.db"),
            "PostgreSQL": create_database(servers.green, "control"),
        }
        figures = []
        extras: dict[str, Any] = {"steps_per_operation": STEPS, "operations": operations}
        for name, where in stores.items():
            figure, extra = _per_step(name, where, operations, repetitions, servers.folder, show)
            figures.append(figure)
            extras[name] = extra
        for how, lost in (("killed on this host", _killed), ("silent on another host", _silent)):
            seconds = lost(stores["PostgreSQL"], ttl_s)
            show(f"  driver {how}: replaced after {seconds:.2f} s, lease {ttl_s:g} s")
            figures.append(_take_over(how, seconds, ttl_s))
    return Report("journal", tuple(figures), extras)


def _per_step(
    name: str,
    where: str,
    operations: int,
    repetitions: int,
    folder: Path,
    show: Callable[[str], None],
) -> tuple[Figure, dict[str, Any]]:
    db = ControlDatabase(where)
    upgrade(db)
    count = operations * STEPS
    bare = _bare_postgres(where) if name == "PostgreSQL" else _bare_sqlite(folder / "bare.db")
    sides: dict[str, Callable[[int], float]] = {
        f"{name} journal": lambda repetition: _drive(db, operations, repetition),
        f"{name} bare commits": lambda _repetition: bare(2 * count),
    }
    seconds = alternating(sides, repetitions, show)
    db.close()
    ours, peer = ([each / count * 1e3 for each in seconds[side]] for side in sides)
    figure = Figure(
        f"cost of a step, {name}",
        "ms",
        statistics.median(ours),
        statistics.median(peer),
        "two bare commits",
        "lower",
        (Budget("value", "at most", STEP_BUDGET_MS),),
    )
    return figure, {"ours_ms": spread(ours), "peer_ms": spread(peer)}


def _drive(db: ControlDatabase, operations: int, repetition: int) -> float:
    """Seconds to drive the operations from taking the lease to the end, one after the other."""
    made = [_create(db, f"tenant {repetition} {n}") for n in range(operations)]
    driver = Driver(SqlJournal(db), [Idle(STEPS)])
    with stopwatch() as watch:
        for operation_id in made:
            if driver.drive(operation_id) is not Drove.ENDED:
                raise RuntimeError("an operation of idle steps did not end")
    return watch.seconds


def _create(db: ControlDatabase, tenant: str) -> str:
    return Operations(db).create(NewOperation("migrate", Idle.name, tenant, "bench")).id


def _bare_postgres(dsn: str) -> Callable[[int], float]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS public.bare (id integer PRIMARY KEY, at integer)")
        conn.execute("INSERT INTO public.bare VALUES (1, 0)")

    def commits(count: int) -> float:
        with psycopg.connect(dsn, autocommit=True) as conn, stopwatch() as watch:
            for number in range(count):
                conn.execute("UPDATE public.bare SET at = %s WHERE id = 1", (number,))
        return watch.seconds

    return commits


def _bare_sqlite(path: Path) -> Callable[[int], float]:
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, at INTEGER)")
    conn.execute("INSERT INTO bare VALUES (1, 0)")

    def commits(count: int) -> float:
        with stopwatch() as watch:
            for number in range(count):
                conn.execute("UPDATE bare SET at = ? WHERE id = 1", (number,))
        return watch.seconds

    return commits


def _killed(where: str, ttl_s: float) -> float:
    """Seconds from kill -9 of a driver on this host until the next one runs its step."""
    with _replacing(where, ttl_s) as (db, operation_id, took):
        command = [sys.executable, "-m", "bench.journal", where, operation_id, str(ttl_s)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        return took(db)


def _silent(where: str, ttl_s: float) -> float:
    """The same for a driver whose host cannot be asked: it took the lease and was never heard of again."""
    with _replacing(where, ttl_s) as (db, operation_id, took):
        stranger = str(Owner("another-host", "", 1, -1, "0"))
        if SqlJournal(db).acquire(operation_id, stranger, ttl_s, (Idle.name,), 0) is None:
            raise RuntimeError("the lease was not to be had")
        return took(db)


class _replacing:
    """An operation to be lost, and ``took(db)``: start a runner now and wait until it runs the step."""

    def __init__(self, where: str, ttl_s: float) -> None:
        self._db = ControlDatabase(where)
        self._ttl_s = ttl_s

    def __enter__(self) -> tuple[ControlDatabase, str, Callable[[ControlDatabase], float]]:
        return self._db, _create(self._db, f"lost {time.monotonic_ns()}"), self._took

    def __exit__(self, *_exc: object) -> None:
        self._db.close()

    def _took(self, db: ControlDatabase) -> float:
        resumed: list[float] = []
        began = time.monotonic()
        journal = SqlJournal(db)
        definition = Idle(1, lambda _ctx: resumed.append(time.monotonic()))
        with Runner(journal, Driver(journal, [definition], ttl_s=self._ttl_s)):
            until(lambda: bool(resumed), self._ttl_s + 60, "taking over")
        return resumed[0] - began


def _take_over(how: str, seconds: float, ttl_s: float) -> Figure:
    budget = Budget("added", "at most", TAKE_OVER_S)
    return Figure(f"take-over, driver {how}", "s", seconds, ttl_s, "its lease", "lower", (budget,))


def _hold_for_ever(where: str, operation_id: str, ttl_s: float) -> None:
    """The driver that gets killed: says so when it is in the middle of its step, and stays there."""

    def stay(_ctx: StepContext) -> None:
        print("in the step", flush=True)
        time.sleep(3600)

    Driver(SqlJournal(ControlDatabase(where)), [Idle(1, stay)], ttl_s=ttl_s).drive(operation_id)


if __name__ == "__main__":
    _hold_for_ever(sys.argv[1], sys.argv[2], float(sys.argv[3]))
