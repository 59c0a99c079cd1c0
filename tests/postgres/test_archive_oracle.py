"""A base and the frames since are the tables, row for row, whatever was written and however often the archiver died."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from archive_process import FileLine, archiver
from archive_sample import Archiving, Folded
from feed_sample import DOCS, MAP, SCHEMA, THEM, US

from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.stores.postgres.archive import reader, slot
from tenant_lifecycle.stores.postgres.database import Database

THIRD = "%s_*?[{/\n'; --"
TENANTS = (US, THEM, THIRD)
#: What one transaction may do; ``%(t)s`` a tenant, ``%(u)s`` another, ``%(n)s`` a number.
STATEMENTS = (
    "INSERT INTO docs (tenant_id, title, body, n) VALUES (%(t)s, 'x', repeat('y', 3000), %(n)s)",
    "UPDATE docs SET title = title || 'z', n = n + 1 WHERE n % 7 = %(n)s % 7 AND tenant_id = %(t)s",
    "UPDATE docs SET body = repeat('w', 2500 + %(n)s) WHERE n % 11 = %(n)s % 11",
    "DELETE FROM docs WHERE n % 13 = %(n)s % 13 AND tenant_id = %(t)s",
    "UPDATE docs SET id = gen_random_uuid() WHERE n % 17 = %(n)s % 17",
    "INSERT INTO chats (tenant_id, title) VALUES (%(t)s, 'chat')",
    "INSERT INTO messages (chat_id, body) SELECT id, 'm' FROM chats ORDER BY random() LIMIT 5",
    "INSERT INTO reactions (message_id, face) SELECT id, 'f' FROM messages ORDER BY random() LIMIT 3",
    "INSERT INTO reactions (tenant_id, face) VALUES (%(t)s, 'direct')",
    "UPDATE messages SET body = body || 'e' WHERE id % 3 = %(n)s % 3",
    "DELETE FROM chats WHERE id % 5 = %(n)s % 5",
    "INSERT INTO users VALUES (%(n)s, 'n', 'e') ON CONFLICT (id) DO UPDATE SET name = users.name || 'n'",
    "INSERT INTO members (tenant_id, user_id) VALUES (%(t)s, %(n)s), (%(u)s, %(n)s)",
    "DELETE FROM members WHERE user_id % 4 = %(n)s % 4 AND tenant_id = %(t)s",
    "UPDATE members SET user_id = %(n)s WHERE tenant_id = %(u)s AND user_id % 9 = 0",
    "DELETE FROM users WHERE id % 19 = %(n)s % 19",
    "INSERT INTO logs (tenant_id, line) VALUES (%(t)s, 'same'), (%(t)s, 'same'), (%(u)s, 'l' || %(n)s)",
    "DELETE FROM logs WHERE ctid IN (SELECT ctid FROM logs WHERE tenant_id = %(t)s LIMIT 1)",
    "UPDATE logs SET line = 'other' WHERE line = 'l' || %(n)s",
    "INSERT INTO events VALUES (%(t)s, %(n)s, 1, 'v') ON CONFLICT DO NOTHING",
    "UPDATE events SET day = 2, v = v || 'm' WHERE id % 2 = %(n)s % 2 AND day = 1",
    "INSERT INTO whole VALUES (%(n)s, %(t)s, repeat('b', 2500)) ON CONFLICT (id) DO UPDATE SET tenant_id = %(u)s",
    "TRUNCATE events",
)


class Load:
    """Sessions that write random transactions, some of them rolled back, until `stop`."""

    def __init__(self, dsn: str, sessions: int = 3) -> None:
        self.transactions = 0
        self._dsn = dsn
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(seed,)) for seed in range(sessions)]
        for thread in self._threads:
            thread.start()

    def _write(self, seed: int) -> None:
        choose = random.Random(seed)
        with psycopg.connect(self._dsn) as conn:
            while not self._stop.is_set():
                with suppress(psycopg.errors.IntegrityError, psycopg.OperationalError):
                    for _ in range(choose.randint(1, 4)):
                        t, u = choose.sample(TENANTS, 2)
                        text = choose.choice(STATEMENTS[: -1 if choose.random() < 0.95 else None])
                        text = text.replace(" % ", " %% ")
                        conn.execute(text, {"t": t, "u": u, "n": choose.randint(1, 40)})
                    if choose.random() < 0.1:
                        conn.rollback()
                    else:
                        conn.commit()
                    self.transactions += 1
                conn.rollback()
                time.sleep(0.002)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def dsn(new_database: Callable[..., str]) -> str:
    made = new_database(18)
    with psycopg.connect(made, autocommit=True) as conn:
        conn.execute(SCHEMA + "ALTER TABLE indexed DROP CONSTRAINT indexed_pkey;")
        for tenant in TENANTS:
            conn.execute("INSERT INTO tenants VALUES (%s, 'gold')", (tenant,))
            conn.execute(DOCS, {"t": tenant})
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)


def test_base_and_frames_are_the_tables_under_load_and_kill_9(dsn: str, tmp_path: Path, quick: None) -> None:
    line = FileLine(tmp_path / "line")
    one = Archiving(Database("blue/postgres", "blue", dsn, MAP), tmp_path)
    slot.create(one.database, "test")
    command = [sys.executable, str(Path(__file__).with_name("archive_process.py")), dsn, str(tmp_path / "spool"),
               str(line.folder)]  # fmt: skip
    bases: list[dict[str, Folded]] = []
    load = Load(dsn)
    try:
        for round_ in range(4):
            flushes = len(line.flushed())
            process = subprocess.Popen(command)
            _until(lambda before=flushes: len(line.flushed()) >= before + 3)  # type: ignore[misc]
            if round_:
                one.base(*TENANTS)
                bases.append(one.folded)
            time.sleep(random.random() / 3)
            process.kill()
            process.wait()
    finally:
        load.stop()
    last, store = archiver(dsn, tmp_path / "spool", line)
    with psycopg.connect(dsn) as conn:
        (now_us,) = conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::int8").fetchone() or (
            0,
        )
    while last.reach is None or last.reach.at_us < now_us:
        last.step()
    last.close()
    flushed = line.flushed()
    for (_, before, _), (_, after, _) in itertools.pairwise(flushed):
        assert (after.from_position, after.from_us) == (before.through_position, before.through_us), "a hole"
    assert not any(broken for _, _, broken in flushed)
    found = [
        (tenant, frame, covered)
        for frames, covered, _ in flushed
        for tenant in frames
        for frame in frames[tenant]
    ]
    straight = [base for base in bases if not _crossed(base[US], [frame for _, frame, _ in found])]
    assert straight, "every base saw a commit and not one before it"
    for one.folded in straight:
        for tenant, frame, covered in found:
            assert covered.from_position < frame.position <= covered.through_position
            one.folded[tenant].apply(frame)
        one.equal()
    assert load.transactions > 100
    assert all(state.last for state in one.folded.values())
    store.close()
    one.database.close()


def _crossed(base: Folded, frames: list[Frame]) -> bool:
    """Whether the base sees a commit that is later in the log than one that it does not see.

    Rows with a key do not mind; whether a person is still a tenant's may hang on both.
    """
    unseen = [frame.position for frame in frames if not base.sees(frame.xid or 0)]
    seen = [frame.position for frame in frames if base.sees(frame.xid or 0)]
    return bool(unseen and seen) and min(unseen) < max(seen)


def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)
