"""The sessions of the HTTP load, in threads of this process or as a process of its own::

    python -m tenant_lifecycle.sandbox.http_load.load --config '{"urls": [...], "tenants": {"acme": 3}, ...}'

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
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.sandbox.foreground import run_until_told
from tenant_lifecycle.sandbox.http_load.calls import Answer, Call, Caller, Taken
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig, HttpSummary
from tenant_lifecycle.sandbox.http_load.reads import READS
from tenant_lifecycle.sandbox.http_load.visitor import DrawWrite, Read, Visitor, Write
from tenant_lifecycle.sandbox.http_load.writes import WRITES
from tenant_lifecycle.sandbox.ledger import LedgerWriter, Outcome
from tenant_lifecycle.sandbox.pauses import percentiles
from tenant_lifecycle.sandbox.text import Writer as TextWriter

NAMES = frozenset(draw.__name__ for draw in WRITES)
_MOST_SAID = 20


class HttpLoad:
    """Sessions in threads; `start`, later `stop`."""

    def __init__(self, config: HttpLoadConfig) -> None:
        unknown = set(config.kinds) - NAMES
        if unknown:
            raise UsageError(
                f"no kind of write is called {', '.join(sorted(unknown))}",
                next_step=f"known: {sorted(NAMES)}",
            )
        self.config = config
        self.first_writer = config.first_writer or 1000 * (1 + secrets.randbelow(2_000_000))
        self.stopping = threading.Event()
        self._began = time.monotonic()
        self._sessions: list[_Session] = []

    def start(self) -> None:
        """Begin; returns when all sessions run.

        Raises:
            UsageError: the application does not answer, or a tenant is not there.
        """
        number = self.first_writer
        for tenant, count in self.config.tenants.items():
            taken, text = Taken(), TextWriter(Random(f"{self.config.seed} {tenant}"))
            for _ in range(count):
                self._sessions.append(_Session(self, tenant, number, taken, text))
                number += 1
        self._began = time.monotonic()
        for session in self._sessions:
            session.start()

    def stop(self) -> HttpSummary:
        """Let every session finish the request it is at, and say what happened. Safe to repeat.

        Raises:
            RuntimeError: a session ended by a defect of the load, not by a failed request.
        """
        self.stopping.set()
        for session in self._sessions:
            session.join()
        for session in self._sessions:
            if session.crashed is not None:
                raise RuntimeError(f"{session.name} of the load ended by itself") from session.crashed
        return _summary(self._sessions, time.monotonic() - self._began, self.first_writer)

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Return at the deadline, or when ``until`` says so; looks ten times a second."""
        end = self._began + self.config.seconds if self.config.seconds is not None else float("inf")
        while time.monotonic() < end and not until() and any(s.is_alive() for s in self._sessions):
            time.sleep(0.1)

    @property
    def requests(self) -> int:
        """How many were made so far."""
        return sum(session.requests for session in self._sessions)


class _Session(threading.Thread):
    """One session: one request after the other, every write in the ledger before and after."""

    def __init__(self, load: HttpLoad, tenant: str, number: int, taken: Taken, text: TextWriter) -> None:
        super().__init__(name=f"session {number}", daemon=True)
        config = load.config
        self.tenant = tenant
        self.requests = self.repeated = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.kinds: Counter[str] = Counter()
        self.served: Counter[tuple[str, str]] = Counter()
        self.latencies: list[float] = []
        self.read_latencies: list[float] = []
        self.failed: list[str] = []
        self.stale: list[str] = []
        #: A defect of the load itself, not a failed request.
        self.crashed: Exception | None = None
        self._load = load
        self._number = number
        self._seq = 0
        self._random = Random(f"{config.seed} {number}")
        client = f"load-{load.first_writer // 1000}"
        url = config.urls[number % len(config.urls)]
        self._caller = Caller(url, tenant, f"s{number}", client, config.timeout_s)
        found = self._caller.send(Call("GET", "/collections"))
        if found.outcome is not Outcome.ACK or not found.json:
            self._caller.close()
            raise UsageError(
                f"the application does not serve tenant {tenant}: {found.error or 'it has no collection'}",
                next_step="tenantctl sandbox status shows what runs",
            )
        self._visitor = Visitor(
            tenant, number, client, found.json[0]["id"], self._random, text, taken
        )  # fmt: skip
        self._writes = {d: w for d, w in WRITES.items() if not config.kinds or d.__name__ in config.kinds}
        self._ledger = LedgerWriter(config.ledger, tenant, number)

    def run(self) -> None:
        config = self._load.config
        interval = sum(config.tenants.values()) / config.rate if config.rate else 0.0
        due = time.monotonic() + interval * self._random.random()
        try:
            while not self._load.stopping.wait(max(0.0, due - time.monotonic())):
                # After a long pause the rate goes on from now: no rush to make up for it.
                due = max(due + interval, time.monotonic() - 1.0)
                read = self._draw_read() if self._random.random() < config.reads else None
                if read is not None:
                    self._read(read)
                else:
                    self._seq += 1
                    self._write(self._draw_write(self._writes, f"{self._number}-{self._seq}"))
        except Exception as exc:
            self.crashed = exc
        finally:
            self._ledger.close()
            self._caller.close()

    def _draw_read(self) -> Read | None:
        draw = self._random.choices(list(READS), list(READS.values()))[0]
        return draw(self._visitor)

    def _draw_write(self, kinds: dict[DrawWrite, int], ref: str) -> Write:
        for _ in range(10_000):
            write = self._random.choices(list(kinds), list(kinds.values()))[0](self._visitor, ref)
            if write is not None:
                return write
        raise ValueError("none of the chosen kinds of writes is possible without others before it")

    def _write(self, write: Write) -> None:
        self._ledger.begin(self._seq, write.kind, write.effects)
        answer = self._caller.send(write.call, f"{self._number}-{self._seq}")
        acknowledged = answer.outcome is Outcome.ACK
        self._ledger.end(
            self._seq, answer.outcome, answer.latency_ms, answer.error, attempts=answer.attempts,
            learned=write.learned(answer) if acknowledged else (),
        )  # fmt: skip
        self.outcomes[answer.outcome] += 1
        self._count(write.kind, "writes", answer)
        if acknowledged:
            self.stale += write.wrong(answer)
            write.done(answer)
            self.latencies.append(answer.latency_ms)
        elif answer.outcome is Outcome.UNKNOWN:
            write.forget()

    def _read(self, read: Read) -> None:
        answer = self._caller.send(read.call)
        good = answer.status in read.expect
        if good:
            self.stale += read.wrong(answer)
            self.read_latencies.append(answer.latency_ms)
        self._count(read.kind, "reads", answer, good=good)

    def _count(self, kind: str, way: str, answer: Answer, *, good: bool = False) -> None:
        self.requests += 1
        self.repeated += answer.attempts - 1
        if answer.outcome is Outcome.ACK or good:
            self.kinds[kind] += 1
            self.served[way, answer.served_by] += 1
        else:
            self.failed.append(f"{kind}: {answer.error}")


def _summary(sessions: Sequence[_Session], seconds: float, first_writer: int) -> HttpSummary:
    outcomes: Counter[Outcome] = sum((s.outcomes for s in sessions), Counter())
    served: dict[str, dict[str, int]] = {"writes": {}, "reads": {}}
    for (way, environment), count in sum((s.served for s in sessions), Counter()).items():
        served[way][environment] = count

    def latency(of: Callable[[_Session], list[float]], tenants: Collection[str]) -> dict[str, Any]:
        return {t: percentiles([ms for s in sessions if s.tenant == t for ms in of(s)]) for t in tenants}

    tenants = {session.tenant for session in sessions}
    return HttpSummary(
        seconds=round(seconds, 3),
        requests=sum(s.requests for s in sessions),
        failed=sum(len(s.failed) for s in sessions),
        repeated=sum(s.repeated for s in sessions),
        acknowledged=outcomes[Outcome.ACK],
        unknown=outcomes[Outcome.UNKNOWN],
        reads=sum(len(s.read_latencies) for s in sessions),
        stale_reads=[sentence for s in sessions for sentence in s.stale],
        kinds=dict(sum((s.kinds for s in sessions), Counter())),
        served=served,
        latency_ms=latency(lambda s: s.latencies, tenants),
        read_latency_ms=latency(lambda s: s.read_latencies, tenants),
        errors=[error for s in sessions for error in s.failed][:_MOST_SAID],
        first_writer=first_writer,
    )


def run_http_load(config: HttpLoadConfig, started: Callable[[HttpLoad], None]) -> HttpSummary:
    """Run a load until it is told to stop (see `run_until_told`); ``started`` is called when all sessions run."""
    load = HttpLoad(config)
    return run_until_told(load, lambda: started(load))


def main(arguments: Sequence[str] | None = None) -> int:
    """One load as a process of its own; 0, or 1 if a request failed or a read was stale."""
    parser = argparse.ArgumentParser(prog="python -m tenant_lifecycle.sandbox.http_load.load")
    parser.add_argument("--config", required=True, help="JSON, or @FILE")
    text: str = parser.parse_args(arguments).config
    config = HttpLoadConfig.from_json(Path(text[1:]).read_text() if text.startswith("@") else text)

    def started(load: HttpLoad) -> None:
        line = {"event": "writing", "pid": os.getpid(), "first_writer": load.first_writer}
        print(json.dumps(line), flush=True)

    summary = run_http_load(config, started)
    print(json.dumps(asdict(summary)), flush=True)
    return 1 if summary.failed or summary.stale_reads else 0


if __name__ == "__main__":
    sys.exit(main())
