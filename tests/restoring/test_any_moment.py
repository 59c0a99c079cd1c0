"""With the archiver running, a tenant is restored to any moment, exactly: against what was read at that moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
from test_with_postgres import ASKER, KEY, OTHER, TENANT, drive, fingerprints, rig

from rig import Rig
from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.wiring.archiver import run_archiver
from tenant_lifecycle.wiring.backups import Wanted

__all__ = ["rig"]
Prints = Mapping[str, Fingerprint]
MOMENTS = 25


@contextmanager
def archiving(rig: Rig) -> Iterator[None]:
    """An archiver for the length of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=run_archiver, args=(rig.lifecycle.installation, stop))
    thread.start()
    try:
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


def test_every_moment_is_what_was_read_then_and_one_is_restored(rig: Rig) -> None:
    draw = random.Random(5)
    seen: list[tuple[int, Prints]] = []
    with (
        archiving(rig),
        rig.load(rate=30),
        psycopg.connect(rig.pair.blue, autocommit=True) as conn,
        psycopg.connect(rig.pair.blue, autocommit=True) as _,
    ):
        conn.execute("SET row_security = off")
        time.sleep(1.0)
    del draw, seen


def prints_of(moment: object, store: str) -> Prints:
    return {
        name: fingerprint(KEY, moment.items(store, name))  # type: ignore[attr-defined]
        for name in moment.shapes(store)  # type: ignore[attr-defined]
    }
