"""With the archiver running, a tenant is restored to any moment, exactly: against what was read at that moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
from test_with_postgres import ASKER, KEY, NEIGHBOUR, OTHER, TENANT, drive, fingerprints, rig

from rig import Rig
from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.wiring.archiver import run_archiver
from tenant_lifecycle.wiring.backups import Wanted
from tenant_lifecycle.wiring.repository import is_archived

__all__ = ["rig"]
Prints = Mapping[str, Fingerprint]


@contextmanager
def archiving(rig: Rig) -> Iterator[None]:
    """An archiver for the length of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=run_archiver, args=(rig.lifecycle.installation, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not is_archived(rig.lifecycle.installation.backups, "blue", "postgres"):
            assert time.monotonic() < deadline and thread.is_alive()
            time.sleep(0.05)
        yield
    finally:
        stop.set()
        thread.join(60)


def one_write(conn: psycopg.Connection, draw: random.Random, number: int) -> None:
    """A transaction of the tenant's application: rows added, changed without their long text, deleted."""
    some = "SELECT id FROM documents WHERE tenant_id = %(tenant)s ORDER BY id OFFSET %(at)s LIMIT 1"
    given = {"tenant": TENANT, "at": draw.randrange(5), "text": f"text {number} " * draw.choice([1, 400])}
    statements = (
        f"UPDATE documents SET title = %(text)s WHERE id = ({some})",
        f"UPDATE documents SET body = %(text)s WHERE id = ({some})",
        f"UPDATE documents SET status = 'archived' WHERE id = ({some})",
        f"DELETE FROM chunks WHERE id = (SELECT min(id) FROM chunks WHERE document_id = ({some}))",
        "INSERT INTO documents (tenant_id, collection_id, title, body) "
        "SELECT tenant_id, id, 'new', %(text)s FROM collections WHERE tenant_id = %(tenant)s LIMIT 1",
    )
    with conn.transaction():
        for statement in draw.sample(statements, draw.randint(1, 3)):
            conn.execute(statement, given)


def state_at(rig: Rig, conn: psycopg.Connection) -> tuple[int, Prints]:
    """A moment between two writes of the tenant, by the database's clock, and everything that it has then."""
    (at_us,) = conn.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    ).fetchone() or (0,)
    store = rig.lifecycle.stores["blue"]["postgres"]
    with store.read_base(TENANT, lambda: None) as reading:
        return at_us, {name: fingerprint(KEY, reading.items(name)) for name in reading.shapes}


def covered(rig: Rig, at_us: int) -> None:
    """Wait until the log reaches a moment."""
    deadline = time.monotonic() + 60
    while True:
        intervals = rig.lifecycle.backups.repository(TENANT).window().intervals
        if intervals and intervals[-1].to_us >= at_us:
            return
        assert time.monotonic() < deadline, intervals
        time.sleep(0.2)


@contextmanager
def neighbours_writing(rig: Rig) -> Iterator[None]:
    """Others use the same tables meanwhile, with transactions that stay open for a moment."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(rig.pair.blue, autocommit=True) as conn:
            conn.execute("SET row_security = off")
            while not stop.wait(0.01):
                with conn.transaction():
                    conn.execute(
                        "UPDATE documents SET title = title || '.' WHERE tenant_id = %s", (NEIGHBOUR,)
                    )
                    stop.wait(0.02)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def prints_of(rig: Rig, at_us: int) -> Prints:
    """The tenant at a moment, by base and log; the items, and the sums that need none of them."""
    moment = rig.lifecycle.backups.repository(TENANT).moment(at_us)
    shapes = moment.shapes("postgres")
    ours = rig.lifecycle.backups.repository(TENANT).fingerprint_key()
    by_items = {name: fingerprint(ours, moment.items("postgres", name)) for name in shapes}
    assert moment.fingerprints("postgres") == by_items, "two ways to one moment"
    return {name: fingerprint(KEY, moment.items("postgres", name)) for name in shapes}


def written(rig: Rig, number: int) -> list[tuple[int, Prints]]:
    """Moments between writes of the tenant, with what it had then; a base is taken in the middle of it all."""
    draw, seen = random.Random(5), []
    with neighbours_writing(rig), psycopg.connect(rig.pair.blue, autocommit=True) as conn:
        conn.execute("SET row_security = off")
        one_write(conn, draw, 0)
        drive(rig, rig.lifecycle.backups.start_backup(TENANT, "blue", actor=ASKER))
        for step in range(number):
            one_write(conn, draw, step)
            seen.append(state_at(rig, conn))
            if step == number // 2:
                drive(rig, rig.lifecycle.backups.start_backup(TENANT, "blue", actor=ASKER))
    return seen


def exactly(rig: Rig, number: int) -> None:
    with archiving(rig):
        seen = written(rig, number)
        covered(rig, seen[-1][0])
        wrong = [at_us for at_us, state in seen if prints_of(rig, at_us) != state]
        assert wrong == [], f"{len(wrong)} of {len(seen)} moments"
        assert len({str(state) for _, state in seen}) > len(seen) * 0.8, (
            "moments differ, so each could be wrong"
        )

        service, (at_us, state) = rig.lifecycle.backups, seen[len(seen) // 3]
        waiting = drive(rig, service.start_restore(Wanted(TENANT, time_text(at_us), "blue"), actor=ASKER))
        assert waiting.state is State.WAITING, waiting
        service.promote(waiting.id, actor=OTHER)
        done = drive(rig, waiting)
        assert done.state is State.SUCCEEDED, done
        assert fingerprints(rig, "blue", TENANT) == state, "the live tenant is as it was then"
        assert prints_of(rig, seen[-1][0]) == seen[-1][1], "the future that was given up is there still"


def test_every_moment_is_what_was_read_then_and_one_is_restored(rig: Rig) -> None:
    exactly(rig, 25)


@pytest.mark.chaos
def test_two_hundred_moments(rig: Rig) -> None:
    exactly(rig, 200)


def test_moments_outside_of_the_window_are_refused_with_the_nearest(rig: Rig) -> None:
    with archiving(rig):
        drive(rig, rig.lifecycle.backups.start_backup(TENANT, "blue", actor=ASKER))
        with psycopg.connect(rig.pair.blue, autocommit=True) as conn:
            covered(rig, state_at(rig, conn)[0])
    last = rig.lifecycle.backups.repository(TENANT).window().intervals[-1]
    for at_us in (last.from_us - 10_000_000, last.to_us + 1_000):
        with pytest.raises(NotRestorable) as refused:
            rig.lifecycle.backups.plan_restore(Wanted(TENANT, time_text(at_us), "blue"))
        assert refused.value.next_step
