"""The load: several writers for each of several tenants, every write through the gate and into the ledger.

Run it in threads of this process (`Load`), or as a process of its own::

    python -m tenant_lifecycle.sandbox.load --config '{"environments": {...}, "tenants": {"acme": 3}, ...}'

It stops at its deadline, on SIGTERM or SIGINT, or when the process that started it is gone, and prints a
summary as one JSON object on the last line of stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import psycopg

from tenant_lifecycle.client.gate import Connection, WriterGate
from tenant_lifecycle.client.outcome import UnknownOutcome
from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.sandbox.claim import claim
from tenant_lifecycle.sandbox.foreground import run_until_told
from tenant_lifecycle.sandbox.ledger import LedgerWriter, Outcome
from tenant_lifecycle.sandbox.pauses import percentiles
from tenant_lifecycle.sandbox.text import Writer as TextWriter
from tenant_lifecycle.sandbox.writes import Mix
from tenant_lifecycle.sandbox.writes.burst import Burst
from tenant_lifecycle.sandbox.writes.hand import Hand
from tenant_lifecycle.sandbox.writes.write import Write, statements

T = TypeVar("T")
_RETRY_S = 0.02


class Gate(Protocol):
    """What the load asks of the writer gate."""

    def run(self, tenant: str, block: Callable[[Connection], T], deadline_s: float = 10) -> T:
        """Run ``block`` in one transaction where the tenant's writer is, and commit it."""


@dataclass(frozen=True)
class LoadConfig:
    """What to write, where to, how fast."""

    #: DSN by environment.
    environments: Mapping[str, str]
    #: Number of writers by tenant.
    tenants: Mapping[str, int]
    #: A folder for the ledger; more than one load may write into it.
    ledger: Path
    #: The environment of tenants that no fence row mentions yet.
    home: str = "blue"
    #: None: until it is told to stop.
    seconds: float | None = None
    #: Writes a second of all writers together; None: as fast as they can.
    rate: float | None = 100.0
    #: Row changes a second, in bulk, by tenant, besides the writers.
    burst: Mapping[str, int] = field(default_factory=dict)
    #: Kinds of writes; empty: all of them.
    kinds: Sequence[str] = ()
    #: Same seed and same claimed rows: same writes.
    seed: int = 1
    #: Number of the first writer, a multiple of 1000; None: one that no other load took.
    first_writer: int | None = None
    #: How long one write may wait and retry before the client is told that it failed.
    deadline_s: float = 10.0

    @classmethod
    def from_json(cls, text: str) -> LoadConfig:
        """Read the JSON form.

        Raises:
            TypeError: a name that is not a field, or a field without a value.
        """
        raw = json.loads(text)
        return cls(**{**raw, "ledger": Path(raw["ledger"])})

    def to_json(self) -> str:
        """For ``--config``."""
        return json.dumps({**asdict(self), "ledger": str(self.ledger)})


@dataclass(frozen=True)
class LoadSummary:
    """What all writers did."""

    seconds: float
    acknowledged: int
    failed: int
    unknown: int
    #: Writes acknowledged, by kind.
    kinds: Mapping[str, int]
    #: p50, p99 and max of the latencies of acknowledged writes, milliseconds, by tenant.
    latency_ms: Mapping[str, Mapping[str, float]]
    #: Row changes acknowledged in bulk.
    burst_rows: int
    #: Some of what failed, one sentence each.
    errors: Sequence[str]
    first_writer: int


class Load:
    """Writers in threads; `start`, later `stop`."""

    def __init__(self, config: LoadConfig, gate: Gate | None = None) -> None:
        self.config = config
        self.first_writer = config.first_writer or 1000 * (1 + secrets.randbelow(2_000_000))
        self._gate: Gate = gate or WriterGate(config.environments, config.home)
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._writers: list[_Thread] = []

    def start(self) -> None:
        """Claim rows and begin to write; returns when all writers run.

        Raises:
            psycopg.Error: a tenant's rows could not be read.
        """
        config, number = self.config, self.first_writer
        writers = sum(config.tenants.values())
        interval = writers / config.rate if config.rate else 0.0
        for tenant, places in config.tenants.items():
            for place in range(places):
                ledger = LedgerWriter(config.ledger, tenant, number)
                source = self._writer(tenant, number, place, places, ledger)
                self._writers.append(_Thread(self, tenant, number, source, interval, ledger))
                number += 1
        for tenant, rows in config.burst.items():
            burst = Burst(number, self._collection(tenant), rows)
            ledger = LedgerWriter(config.ledger, tenant, number)
            self._writers.append(_Thread(self, tenant, number, burst.next, burst.interval_s, ledger))
            number += 1
        self._began = time.monotonic()
        for writer in self._writers:
            writer.start()

    def stop(self) -> LoadSummary:
        """Let every writer finish the write it is at, and say what happened. Safe to repeat.

        Raises:
            RuntimeError: a writer ended by a defect of the load, not by a failed write.
        """
        self._stop.set()
        for writer in self._writers:
            writer.join()
        for writer in self._writers:
            if writer.crashed is not None:
                raise RuntimeError(f"{writer.name} of the load ended by itself") from writer.crashed
        return self._summary()

    def wait(self, until: Callable[[], bool]) -> None:
        """Return at the deadline, or when ``until`` says so; looks ten times a second."""
        end = self._began + self.config.seconds if self.config.seconds is not None else float("inf")
        while time.monotonic() < end and not until() and any(writer.is_alive() for writer in self._writers):
            time.sleep(0.1)

    def _writer(
        self, tenant: str, number: int, place: int, places: int, ledger: LedgerWriter
    ) -> Callable[[], Write]:
        random = Random(f"{self.config.seed} {tenant} {place}")
        own, effects = self._gate.run(tenant, lambda conn: claim(conn, tenant, place, places))
        ledger.begin(0, "claim", effects)
        ledger.end(0, Outcome.ACK, 0)
        return Mix(Hand(tenant, number, random, TextWriter(random), own), self.config.kinds).next

    def _collection(self, tenant: str) -> str:
        own, _ = self._gate.run(tenant, lambda conn: claim(conn, tenant, 0, 1_000_000))
        return own.collections[0]

    def _summary(self) -> LoadSummary:
        outcomes = [outcome for writer in self._writers for outcome in writer.outcomes]
        kinds: dict[str, int] = {}
        for writer in self._writers:
            for kind, count in writer.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        latency = {
            tenant: percentiles(
                [ms for writer in self._writers if writer.tenant == tenant for ms in writer.latencies]
            )
            for tenant in {writer.tenant for writer in self._writers}
        }
        return LoadSummary(
            seconds=round(time.monotonic() - self._began, 3),
            acknowledged=outcomes.count(Outcome.ACK),
            failed=outcomes.count(Outcome.FAILED),
            unknown=outcomes.count(Outcome.UNKNOWN),
            kinds=kinds,
            latency_ms=latency,
            burst_rows=sum(writer.rows for writer in self._writers),
            errors=[error for writer in self._writers for error in writer.errors][:20],
            first_writer=self.first_writer,
        )


class _Thread(threading.Thread):
    """One writer: one write after the other, each in the ledger before and after."""

    def __init__(
        self,
        load: Load,
        tenant: str,
        number: int,
        source: Callable[[], Write],
        interval_s: float,
        ledger: LedgerWriter,
    ) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self.tenant = tenant
        self.outcomes: list[Outcome] = []
        self.latencies: list[float] = []
        self.kinds: dict[str, int] = {}
        self.errors: list[str] = []
        self.rows = 0
        #: A defect of the load itself, not a failed write.
        self.crashed: Exception | None = None
        self._ledger = ledger
        self._load = load
        self._number = number
        self._source = source
        self._interval_s = interval_s
        self._seq = 0

    def run(self) -> None:
        due = time.monotonic() + self._interval_s * (self._number % 7) / 7
        try:
            while not self._load._stop.wait(max(0.0, due - time.monotonic())):
                # After a long pause the rate goes on from now: no rush to make up for it.
                due = max(due + self._interval_s, time.monotonic() - 1.0)
                self._one(self._ledger, self._source())
        except Exception as exc:
            self.crashed = exc
        finally:
            self._ledger.close()

    def _one(self, ledger: LedgerWriter, write: Write) -> None:
        self._seq += 1
        ledger.begin(self._seq, write.kind, write.effects)
        began = time.perf_counter()
        outcome, error = self._send(write)
        latency = (time.perf_counter() - began) * 1000
        ledger.end(self._seq, outcome, latency, error)
        self.outcomes.append(outcome)
        if outcome is Outcome.ACK:
            write.done()
            self.latencies.append(latency)
            self.kinds[write.kind] = self.kinds.get(write.kind, 0) + 1
            self.rows += write.rows
        elif outcome is Outcome.UNKNOWN:
            write.forget()
        if error:
            self.errors.append(f"{write.kind}: {error}")

    def _send(self, write: Write) -> tuple[Outcome, str]:
        sql = statements()
        marker = {
            "tenant": self.tenant,
            "writer": self._number,
            "seq": self._seq,
            "payload": f"{write.kind} {self._seq}",
        }

        def block(conn: psycopg.Connection[Any]) -> None:
            for name, values in write.statements:
                conn.execute(sql[name], values)
            conn.execute(sql["marker"], marker)

        give_up = time.monotonic() + self._load.config.deadline_s
        while True:
            try:
                self._load._gate.run(self.tenant, block, max(0.0, give_up - time.monotonic()))
            except UnknownOutcome as exc:
                return Outcome.UNKNOWN, _one_line(exc)
            except psycopg.OperationalError as exc:
                # Rolled back for certain (a deadlock, a connection that broke before the COMMIT): try again,
                # as an application does.
                if time.monotonic() + _RETRY_S >= give_up:
                    return Outcome.FAILED, _one_line(exc)
                time.sleep(_RETRY_S)
            except (psycopg.Error, LifecycleError) as exc:
                return Outcome.FAILED, _one_line(exc)
            else:
                return Outcome.ACK, ""


def _one_line(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:300]


def run_load(config: LoadConfig, started: Callable[[Load], None]) -> LoadSummary:
    """Run a load until it is told to stop (see `run_until_told`); ``started`` is called when all writers run."""
    load = Load(config)
    return run_until_told(load, lambda: started(load))


def main(arguments: Sequence[str] | None = None) -> int:
    """One load as a process of its own; 0, or 1 if a write failed."""
    parser = argparse.ArgumentParser(prog="python -m tenant_lifecycle.sandbox.load")
    parser.add_argument("--config", required=True, help="JSON, or @FILE")
    text: str = parser.parse_args(arguments).config
    config = LoadConfig.from_json(Path(text[1:]).read_text() if text.startswith("@") else text)

    def started(load: Load) -> None:
        print(
            json.dumps({"event": "writing", "pid": os.getpid(), "first_writer": load.first_writer}),
            flush=True,
        )

    summary = run_load(config, started)
    print(json.dumps(asdict(summary)), flush=True)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
