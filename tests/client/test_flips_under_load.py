"""Writers of all stores through random flips, killed and frozen in the middle: nothing is lost, nothing is open too early."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from two_environments import OTHER, A, Two, warm

from tenant_lifecycle.client.session import Session
from tenant_lifecycle.client.tenants import TenantClient
from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.postgres import fence, journal


def carry_over(two: Two, source: str, feed: Feed) -> None:
    """What the move does under the fence: make the target's keys what the source's are now."""
    entries = journal.touched(two.databases[source], feed, "redis", 100_000)
    assert not any(entry.open for entry in entries), "the fence drained the blocks"
    for key in {entry.key for entry in entries}:
        value = two.redis[source].dump(key)
        if value is None:
            two.redis[OTHER[source]].delete(key)
        else:
            two.redis[OTHER[source]].restore(key, 0, value, replace=True)
    journal.drop_touched(two.databases[source], feed, [entry.seq for entry in entries])


class Writers:
    """Threads that write numbered blocks of the tenant, and what was acknowledged to them."""

    def __init__(self, client: TenantClient, count: int) -> None:
        #: Where a block was done, by its note.
        self.acknowledged: dict[str, str] = {}
        #: The last number of each thread.
        self.last: dict[int, int] = {}
        self._client = client
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in range(count)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def _write(self, name: int) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                done = self._client.write(A, numbered(name, number), deadline_s=30.0)
                self.acknowledged[f"{name}/{number}"] = done.value
                self.last[name] = number
                number += 1
        except BaseException as exc:
            self._failures.append(exc)


def numbered(name: int, number: int) -> Callable[[Session], str]:
    """A block that leaves the last three keys of its thread, the number, and a row."""

    def block(session: Session) -> str:
        keys, note = session.redis(), f"{name}/{number}"
        keys.set(note, session.environment)
        keys.set(f"last/{name}", number)
        keys.delete(f"{name}/{number - 3}")
        session.postgres.execute("INSERT INTO docs (t, note) VALUES (%s, %s)", (A, note))
        return session.environment

    return block


def flip_at_random(two: Two, feeds: dict[str, Feed], seconds: float) -> tuple[str, int]:
    """Turn the tenant to and fro; return its writer and epoch in the end."""
    dice = random.Random(5)
    source, epoch = "blue", 1
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        target = OTHER[source]
        ticket = fence.fence(two.databases[source], A, epoch, 5.0, 5.0)
        carry_over(two, source, feeds[source])
        assert fence.commit_move(two.databases[source], A, ticket, target)
        time.sleep(dice.choice([0.0, 0.002, 0.02]))
        fence.activate(two.databases[target], A, epoch + 1)
        source, epoch = target, epoch + 1
        time.sleep(dice.uniform(0.0, 0.05))
    return source, epoch


def test_every_write_is_with_the_writer_through_random_flips(two: Two) -> None:
    """Redis is written by blocks only; whatever was acknowledged is at the last writer, and nothing else."""
    feeds = {side: two.open_journal(side) for side in ("blue", "green")}
    client = two.client()
    warm(client)
    client.listen()
    with Writers(client, 3) as writers:
        writer, epoch = flip_at_random(two, feeds, 4.0)
    acknowledged = writers.acknowledged
    assert epoch > 8 and len(set(acknowledged.values())) == 2
    here = two.redis[writer]
    for name, number in writers.last.items():
        assert here.get(f"last/{name}") == b"%d" % number
        kept = {f"{name}/{n}" for n in range(max(number - 2, 0), number + 1)}
        assert {key.decode() for key in here.keys(f"{name}/*")} == kept
        assert all(here.get(note) == acknowledged[note].encode() for note in kept)
    for side in ("blue", "green"):
        assert two.notes(side) == {note for note, where in acknowledged.items() if where == side}
    assert client.counts()["keys_mirrored"] > 50


CLIENT = """
import sys, time, redis
from tenant_lifecycle.client import Environment, TenantClient
dsn, port, tenant = sys.argv[1:]
client = TenantClient({"blue": Environment(dsn, {"redis": redis.Redis(port=int(port))})}, "blue")

def block(session):
    session.redis().set("k", "first")
    print("in the middle", flush=True)
    time.sleep(float(sys.stdin.readline()))
    session.redis().set("k", "second")

try:
    client.write(tenant, block)
    print("committed", flush=True)
except Exception as exc:
    print(type(exc).__name__, flush=True)
"""


@contextmanager
def client_process(two: Two) -> Iterator[subprocess.Popen[str]]:
    port = two.redis["blue"].connection_pool.connection_kwargs["port"]
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, two.databases["blue"].dsn, str(port), A],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        assert client.stdout is not None and client.stdout.readline() == "in the middle\n"
        try:
            yield client
        finally:
            client.kill()


def test_a_client_killed_in_its_block_leaves_its_key_to_the_quarantine(two: Two) -> None:
    two.open_journal()
    with client_process(two) as client:
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
    ticket = fence.fence(two.databases["blue"], A, 1, 5.0, 5.0)
    assert [(e.key, e.open) for e in two.entries()] == [(b"k", True)]
    fence.release(two.databases["blue"], A, ticket)


def test_a_frozen_client_keeps_the_lock_and_the_fence_says_so(two: Two) -> None:
    two.open_journal()
    with client_process(two) as client:
        os.kill(client.pid, signal.SIGSTOP)
        with pytest.raises(StoreBusy, match="holds the tenant's lock"):
            fence.fence(two.databases["blue"], A, 1, 5.0, 0.3)
        assert [e.open for e in two.entries()] == [True]
        os.kill(client.pid, signal.SIGCONT)
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write("0\n")
        client.stdin.flush()
        assert client.stdout.readline() == "committed\n"
    assert not any(e.open for e in two.entries())


def test_a_client_frozen_until_its_lock_is_gone_writes_nothing_when_it_wakes(two: Two) -> None:
    """Its connection was ended (an administrator, a time-out) and the tenant moved on while it slept."""
    two.open_journal()
    with client_process(two) as client:
        os.kill(client.pid, signal.SIGSTOP)
        with two.databases["blue"].session() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        two.flip("blue", "green", 1)
        os.kill(client.pid, signal.SIGCONT)
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write("0\n")
        client.stdin.flush()
        assert client.stdout.readline() == "BlockEnded\n"
    assert two.redis["blue"].get("k") == b"first"
