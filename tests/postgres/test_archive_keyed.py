"""A store without a change log: what the journal names is read after its writer was done, and kept with its time."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from archive_process import FileLine
from journal_sample import FEED, A, B, armed, enter, enter_key, execute, session

from tenant_lifecycle.model.backup.items import Delete, Op, Unknown, Upsert
from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.operations.archive import capturing
from tenant_lifecycle.operations.archive.capturing import KeyedArchiver, KeyedSource, feed_of
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.sandbox.redis import RedisServer, program
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.stores.redis.store import RedisStore

_FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    if program() is None:
        pytest.skip("no Redis server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-archive-", dir=_FAST))
    made = RedisServer(folder / "redis")
    made.start()
    yield made
    made.remove()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Keyed:
    """Tenant A's database, its Redis, and the archive of both."""

    database: Database
    db: redis.Redis
    store: RedisStore
    line: FileLine

    def archiver(self) -> KeyedArchiver:
        judge = PostgresStore(self.database)
        source = KeyedSource(
            "redis", "blue", lambda: 0.0, lambda: [A, B], self.now_us, self.line.folder / "life"
        )
        return KeyedArchiver(source, self.store, self.store, judge, self.line, Writers(judge))

    def now_us(self) -> int:
        with self.database.session() as conn:
            row = conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::int8").fetchone()
        return int(str(row[0])) if row else 0

    def write(self, key: bytes, value: bytes) -> None:
        """As an application does: enter, write, end."""
        with session(self.database) as block:
            _, _, holder = enter(block)
            enter_key(self.database, key, holder)
            self.db.set(key, value)

    def ops(self) -> list[Op]:
        return [op for frames, _, _ in self.line.flushed() for frame in frames.get(A, ()) for op in frame.ops]


@pytest.fixture
def keyed(
    new_database: Callable[..., str], server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Keyed]:
    monkeypatch.setattr(journal, "OPEN_BUDGET_S", 2.0)
    database = armed(new_database(18))
    keys = KeyMap({"answers": Family(Template.parse("answer:{tenant}:*"))})
    store = RedisStore.from_config(
        name="redis", environment="blue", settings={"url": server.url()},
        ownership=OwnershipMap(keys={"redis": keys}), ids=lambda _: TenantIds(),
    )  # fmt: skip
    db = redis.Redis(port=server.port, protocol=2)
    db.flushall()
    yield Keyed(database, db, store, FileLine(tmp_path / "line"))
    db.close()
    store.close()
    database.close()


def test_what_was_written_is_kept_with_its_time(keyed: Keyed) -> None:
    one = keyed.archiver()
    one.step()
    before_us = keyed.now_us()
    keyed.write(b"answer:a:1", b"one")
    keyed.write(b"answer:a:2", b"two")
    keyed.db.delete(b"answer:a:2")
    after_us = keyed.now_us()
    one.step()
    one.step()
    (frames,) = [frames[A] for frames, _, _ in keyed.line.flushed() if A in frames]
    first, second = sorted(frames, key=lambda frame: frame.ops[0].key)  # type: ignore[union-attr]
    assert isinstance(first.ops[0], Upsert) and first.ops[0].set == "answers"
    assert second.ops == (Delete("answers", b"answer:a:2"),)
    for frame in frames:
        assert frame.not_before_us is not None
        assert before_us <= frame.not_before_us + 5_000 and frame.not_before_us <= after_us <= frame.at_us
    for (_, before, _), (_, after, _) in pairwise(keyed.line.flushed()):
        assert (after.from_us, after.from_position) == (before.through_us, before.through_position)


def test_what_a_writer_is_still_at_is_not_read_and_not_said_to_be_covered(keyed: Keyed) -> None:
    one = keyed.archiver()
    one.step()
    with session(keyed.database) as block:
        _, _, holder = enter(block)
        enter_key(keyed.database, b"answer:a:1", holder)
        entered_us = keyed.now_us()
        keyed.db.set(b"answer:a:1", b"half")
        time.sleep(0.05)
        one.step()
        one.step()
        assert one.reach is not None and one.reach.at_us <= entered_us
        keyed.db.set(b"answer:a:1", b"whole")
    one.step()
    one.step()
    (op,) = keyed.ops()
    assert isinstance(op, Upsert) and b"whole" in (op.cells[0] or b"")  # type: ignore[operator]
    assert one.reach.at_us > entered_us


def test_a_key_that_is_written_again_before_it_is_read_is_unknown(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "HOT_S", 0.0)
    one = keyed.archiver()
    one.step()
    keyed.write(b"answer:a:1", b"one")
    capture = keyed.store.capture

    def again(tenant, keys):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(keyed.store, "capture", capture)
        keyed.write(b"answer:a:1", b"two")
        return capture(tenant, keys)

    monkeypatch.setattr(keyed.store, "capture", again)
    one.step()
    one.step()
    unknown, then = keyed.ops()
    assert unknown == Unknown("answers", b"answer:a:1")
    assert isinstance(then, Upsert) and b"two" in (then.cells[0] or b"")  # type: ignore[operator]


def test_an_archiver_that_dies_after_the_flush_says_the_same_again(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = keyed.archiver()
    one.step()
    keyed.write(b"answer:a:1", b"one")
    monkeypatch.setattr(KeyedArchiver, "_drop", lambda *_: None)
    one.step()
    monkeypatch.undo()
    monkeypatch.setattr(journal, "OPEN_BUDGET_S", 2.0)
    again = keyed.archiver()
    again.step()
    again.step()
    assert len(set(keyed.ops())) == 1
    for (_, before, _), (_, after, broken) in pairwise(keyed.line.flushed()):
        assert after.from_us == before.through_us and A not in broken, "a hole"
    assert not journal.touched(keyed.database, feed_of(A, "blue"), "redis", 10)


def test_a_tenant_whose_keys_nobody_enters_is_not_covered(keyed: Keyed) -> None:
    one = keyed.archiver()
    one.step()
    one.step()
    broken = keyed.line.flushed()[-1][2]
    assert A not in broken and "not journaled" in broken[B]
    assert "archive.not-journaled" in {finding.code for finding in one.findings}


def test_a_journal_that_lost_its_entries_is_a_gap(keyed: Keyed) -> None:
    one = keyed.archiver()
    one.step()
    one.step()
    execute(keyed.database, "TRUNCATE tenant_lifecycle.touched, tenant_lifecycle.journal_life")
    one.step()
    one.step()
    flushed = [covered for _, covered, _ in keyed.line.flushed()]
    assert any(after.from_us > before.through_us for before, after in pairwise(flushed))


def test_the_side_that_is_not_the_writer_is_not_the_truth(keyed: Keyed) -> None:
    one = keyed.archiver()
    one.step()
    one.step()
    assert A not in keyed.line.flushed()[-1][2]
    ticket = fence.fence(keyed.database, A, 1, 5.0, 1.0)
    assert fence.commit_move(keyed.database, A, ticket, "green")
    one.step()
    assert "another environment" in keyed.line.flushed()[-1][2][A]


def test_a_feed_of_a_migration_keeps_its_own_entries(keyed: Keyed) -> None:
    journal.open_journal(keyed.database, FEED)
    one = keyed.archiver()
    one.step()
    keyed.write(b"answer:a:1", b"one")
    one.step()
    assert [entry.key for entry in journal.touched(keyed.database, FEED, "redis", 10)] == [b"answer:a:1"]
    assert FenceState.ACTIVE is fence.fence_row(keyed.database, A).state  # type: ignore[union-attr]
