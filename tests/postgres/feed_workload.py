"""A client of two tenants that writes every kind of change to every kind of table, at random."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from feed_sample import THEM, US

from tenant_lifecycle.stores.postgres.database import Database

#: Statements with the tenant (t), a number that only grows (n), one that was used before (o), and a text (s).
CHANGES = (
    "INSERT INTO docs (tenant_id, title, body, slug, n, ms) VALUES (%(t)s, 't', repeat(md5(%(s)s), 99), %(s)s, %(n)s, "
    "'{glad,sad}') ON CONFLICT DO NOTHING",
    "UPDATE docs SET title = title || 'x' WHERE n = %(o)s",
    "UPDATE docs SET id = gen_random_uuid() WHERE n = %(o)s",
    "UPDATE docs SET body = repeat(md5(%(s)s), 98) WHERE n = %(o)s",
    "UPDATE docs SET slug = NULL WHERE n < %(o)s AND tenant_id = %(t)s AND mod(n, 3) = 0",
    "WITH two AS (SELECT min(n) a, max(n) b FROM docs WHERE tenant_id = %(t)s AND slug IS NOT NULL), "
    "x AS (DELETE FROM docs d USING two WHERE d.n = two.a RETURNING d.*) "
    "INSERT INTO docs (tenant_id, slug, n) SELECT tenant_id, slug || 'r', n FROM x ON CONFLICT DO NOTHING",
    "DELETE FROM docs WHERE n = %(o)s",
    "INSERT INTO logs SELECT %(t)s, 'l' || mod(%(o)s, 5) FROM generate_series(1, 2)",
    "DELETE FROM logs WHERE ctid IN (SELECT ctid FROM logs WHERE line = 'l' || mod(%(o)s, 5) LIMIT 1)",
    "UPDATE logs SET line = 'l1' WHERE ctid IN (SELECT ctid FROM logs WHERE line = 'l2' LIMIT 1)",
    "INSERT INTO chats VALUES (%(n)s, %(t)s, 'c') ON CONFLICT DO NOTHING",
    "WITH c AS (INSERT INTO chats (id, tenant_id) VALUES (-%(n)s, %(t)s) ON CONFLICT DO NOTHING RETURNING id) "
    "INSERT INTO messages (chat_id, body) SELECT id, 'm' FROM c",
    "INSERT INTO messages (chat_id) SELECT id FROM chats WHERE id <= %(o)s ORDER BY id DESC LIMIT 2",
    "UPDATE messages m SET chat_id = c.id FROM chats c, chats d WHERE m.id = %(o)s AND d.id = m.chat_id "
    "AND c.tenant_id = d.tenant_id AND c.id = (SELECT max(id) FROM chats e WHERE e.tenant_id = d.tenant_id)",
    "INSERT INTO reactions (message_id, face) SELECT id, 'r' FROM messages WHERE id >= %(o)s ORDER BY id LIMIT 2",
    # Before its message, whoever will own that.
    "INSERT INTO reactions (message_id, face) SELECT last_value + 2, 'early' FROM messages_id_seq",
    "INSERT INTO reactions (tenant_id, face) VALUES (%(t)s, 'direct')",
    "UPDATE reactions SET face = face || '!' WHERE id = %(o)s",
    "DELETE FROM reactions WHERE id = %(o)s",
    "DELETE FROM messages WHERE id = %(o)s",
    "DELETE FROM chats WHERE id IN (%(o)s, -%(o)s)",
    "INSERT INTO events VALUES (%(t)s, %(n)s, 1 + mod(%(o)s, 2), 'v') ON CONFLICT DO NOTHING",
    "UPDATE events SET day = 3 - day, v = v || 'x' WHERE id = %(o)s",
    "DELETE FROM events WHERE id = %(o)s",
    "INSERT INTO numbers (tenant_id, v) VALUES (%(t)s, %(n)s)",
    "UPDATE numbers SET v = v + 1, n = DEFAULT WHERE id = %(o)s",
    "DELETE FROM numbers WHERE id = %(o)s",
    "INSERT INTO whole VALUES (%(n)s, %(t)s, repeat(md5(%(s)s), 99)) ON CONFLICT DO NOTHING",
    "UPDATE whole SET id = -id WHERE id = %(o)s",
    "DELETE FROM whole WHERE id = %(o)s",
    "INSERT INTO indexed VALUES (%(n)s, %(t)s, %(s)s, 1) ON CONFLICT DO NOTHING",
    "UPDATE indexed SET v = v + 1, code = code || 'x' WHERE id = %(o)s",
    "UPDATE indexed SET id = -id WHERE id = %(o)s",
    "DELETE FROM indexed WHERE id = %(o)s",
    "INSERT INTO users VALUES (%(n)s, 'u') ON CONFLICT DO NOTHING",
    "INSERT INTO members (tenant_id, user_id) VALUES (%(t)s, %(o)s)",
    "UPDATE users SET name = name || 'x' WHERE id = %(o)s",
    "DELETE FROM members WHERE id = %(o)s",
)


def change(conn: psycopg.Connection[tuple[object, ...]], rng: random.Random, number: int) -> None:
    """One transaction of one to five changes."""
    values = {
        "t": US if rng.random() < 0.7 else THEM,
        "n": number,
        "o": rng.randrange(max(1, number - 60), number + 1),
        "s": f"s{rng.randrange(number + 1)}",
    }
    with suppress(psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation), conn.transaction():
        for _ in range(rng.randrange(1, 6)):
            conn.execute(rng.choice(CHANGES), values)


@contextmanager
def writing(side: Database, pause_s: float = 0.002, seed: int = 7, start: int = 1) -> Iterator[None]:
    """Write all the time while the block runs."""
    stopped = threading.Event()
    errors: list[Exception] = []

    def write() -> None:
        rng = random.Random(seed)
        number = start
        try:
            with psycopg.connect(side.dsn, autocommit=True) as conn:
                while not stopped.wait(pause_s):
                    number += 1
                    change(conn, rng, number)
        except Exception as exc:
            errors.append(exc)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    assert not errors, errors
