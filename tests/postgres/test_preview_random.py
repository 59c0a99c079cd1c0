"""Whatever was done to two tenants at random, one comes back to the byte and the other does not notice."""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pytest
from fence_sample import sample
from restore_sample import A, B, load, promote, read, unequal

from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore

#: Each is a statement with a tenant ``t``, its number ``n`` (0 and 1), and two random numbers.
STEPS = (
    "UPDATE docs SET title = md5(%(x)s::text), f = %(x)s WHERE tenant_id = %(t)s AND id %% 7 = %(y)s %% 7",
    "DELETE FROM docs WHERE tenant_id = %(t)s AND id %% 11 = %(y)s %% 11",
    "INSERT INTO docs (tenant_id, title, moods) SELECT %(t)s, repeat('z', %(x)s), NULL FROM generate_series(1, 1 + %(y)s %% 3)",
    "UPDATE docs SET slug = NULL WHERE tenant_id = %(t)s AND id %% 3 = %(y)s %% 3",
    "UPDATE docs SET slug = %(n)s || 'n' || id WHERE tenant_id = %(t)s AND slug IS NULL",
    "UPDATE chats SET user_id = CASE %(y)s %% 3 WHEN 0 THEN NULL ELSE %(n)s * 10 + 1 + %(y)s %% 3 END WHERE org = %(t)s AND id %% 4 = %(x)s %% 4",
    "DELETE FROM chats WHERE org = %(t)s AND id %% 5 = %(y)s %% 5",
    "INSERT INTO chats VALUES (%(n)s * 1000 + 100 + %(x)s, NULL, %(t)s) ON CONFLICT DO NOTHING",
    "INSERT INTO messages SELECT id, %(x)s, md5(%(y)s::text) FROM chats WHERE org = %(t)s ON CONFLICT DO NOTHING",
    "DELETE FROM messages WHERE chat_id / 1000 = %(n)s AND \"no\" %% 6 = %(y)s %% 6",
    "UPDATE messages SET \"no\" = \"no\" + 1000 WHERE chat_id / 1000 = %(n)s AND \"no\" = %(x)s %% 50",
    "UPDATE events SET day = 3 - day WHERE tenant_id = %(t)s AND id %% 4 = %(y)s %% 4 AND NOT EXISTS "
    "(SELECT FROM events e WHERE e.tenant_id = events.tenant_id AND e.id = events.id AND e.day <> events.day)",
    "DELETE FROM events WHERE tenant_id = %(t)s AND id %% 9 = %(y)s %% 9",
    "INSERT INTO notes SELECT %(t)s, CASE %(y)s %% 3 WHEN 0 THEN NULL WHEN 1 THEN 'same' ELSE md5(%(x)s::text) END",
    "DELETE FROM notes WHERE ctid IN (SELECT ctid FROM notes WHERE tenant_id = %(t)s LIMIT %(y)s %% 3)",
    "UPDATE users SET name = md5(%(x)s::text) WHERE id = %(n)s * 10 + 1 + %(y)s %% 3",
    "DELETE FROM members WHERE tenant_id = %(t)s AND user_id = %(n)s * 10 + 1 + %(y)s %% 3",
    "INSERT INTO members VALUES (%(t)s, %(n)s * 10 + 1 + %(y)s %% 3) ON CONFLICT DO NOTHING",
)  # fmt: skip


def disturb(database: Database, chance: random.Random, steps: int) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        for _ in range(steps):
            n = chance.randrange(2)
            values = {"t": (A, B)[n], "n": n, "x": chance.randrange(90), "y": chance.randrange(90)}
            conn.execute(chance.choice(STEPS).encode(), values)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_is_undone_for_one_tenant_only(new_database: Callable[..., str], seed: int) -> None:
    chance = random.Random(seed)
    database = sample(new_database(chance.choice((16, 18))), docs=25)
    store = PostgresStore(database)
    disturb(database, chance, 30)
    base = read(store)
    preview = load(store, base)
    disturb(database, chance, chance.choice((3, 30, 120)))
    theirs, before = read(store, B).proofs, read(store).proofs
    found = unequal(preview)
    assert {name for name in base.proofs if base.proofs[name] != before[name]} == set(found)
    changed = promote(preview)
    assert read(store).proofs == base.proofs and unequal(preview) == {}
    assert read(store, B).proofs == theirs
    for name, (restored, live, differing) in found.items():
        if name in ("public.docs", "public.events", "public.notes", "public.members"):
            assert changed[name] == restored + live + differing
    database.close()
