"""Sequences: the target never hands out what the source gave away, and nothing is ever taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Global, OwnershipMap
from tenant_lifecycle.stores.postgres.counters import SLACK, Counters, carry_counters
from tenant_lifecycle.stores.postgres.database import Database

A = TenantId("a")
T = TableName.parse
MAP = OwnershipMap({T("owned"): Direct("t"), T("parts"): Direct("t"), T("elsewhere"): Global()})
SCHEMA = """
CREATE SEQUENCE bare;
CREATE SEQUENCE "od""d; name" INCREMENT 10;
CREATE SEQUENCE down INCREMENT -2;
CREATE TABLE owned (
    t text, serial bigserial, always int GENERATED ALWAYS AS IDENTITY, small smallserial,
    bare bigint DEFAULT nextval('bare'), odd bigint DEFAULT nextval('"od""d; name"'), two text DEFAULT 'x' || nextval('bare'),
    down int DEFAULT nextval('down'), never bigserial
);
CREATE TABLE parts (t text, id int) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
CREATE SEQUENCE leaf;
ALTER TABLE part_1 ALTER id SET DEFAULT nextval('leaf');
CREATE TABLE elsewhere (id bigserial);
"""
#: Name, and the last value that the source has given.
SEQUENCES = {
    "public.owned_serial_seq": 500,
    "public.owned_always_seq": 77,
    "public.owned_small_seq": 30,
    "public.bare": 12,
    'public."od""d; name"': 1001,
    "public.down": -41,
    "public.leaf": 9,
}


@pytest.fixture
def pair(new_database: Callable[..., str]) -> Iterator[tuple[Database, Database]]:
    databases = [
        Database(name, name, new_database(major), MAP) for name, major in (("blue", 16), ("green", 18))
    ]
    for database in databases:
        with psycopg.connect(database.dsn, autocommit=True) as conn:
            conn.execute(SCHEMA)
    with psycopg.connect(databases[0].dsn, autocommit=True) as conn:
        for name, value in SEQUENCES.items():
            conn.execute("SELECT setval(%s, %s)", (name, value))
        conn.execute("SELECT setval('elsewhere_id_seq', 999)")
    yield databases[0], databases[1]
    for database in databases:
        database.close()


def last(database: Database, name: str) -> int | None:
    with database.session() as conn:
        return conn.execute("SELECT pg_sequence_last_value(%s::regclass)", (name,)).fetchone()[0]


def test_every_sequence_a_moved_table_draws_from_is_raised_by_the_margin(
    pair: tuple[Database, Database],
) -> None:
    source, target = pair
    assert carry_counters(source, target, A, 100) == len(SEQUENCES)
    steps = {'public."od""d; name"': 10, "public.down": -2}
    for name, value in SEQUENCES.items():
        # The slack keeps others' draws from being taken back; a smallint has less room for it.
        slack = 32 if "small" in name else SLACK
        assert last(target, name) == value + (100 + slack) * steps.get(name, 1), name
    assert last(target, "public.elsewhere_id_seq") is None and last(target, "public.owned_never_seq") is None


def test_nothing_is_ever_lowered(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with target.session() as conn:
        conn.execute("SELECT setval('public.bare', 5000), setval('public.down', -9000)")
    assert carry_counters(source, target, A, 10) == len(SEQUENCES) - 2
    assert last(target, "public.bare") == 5000 and last(target, "public.down") == -9000
    before = {name: last(target, name) for name in SEQUENCES}
    assert carry_counters(source, target, A, 10) == 0
    assert {name: last(target, name) for name in SEQUENCES} == before


def test_the_next_number_of_the_target_is_new(pair: tuple[Database, Database]) -> None:
    source, target = pair
    carry_counters(source, target, A, 0)
    with psycopg.connect(target.dsn) as conn:
        row = conn.execute(
            "INSERT INTO owned (t) VALUES ('a') RETURNING serial, always, small, bare, odd, down"
        ).fetchone()
    assert row[0] > 500 and row[1] > 77 and row[2] > 30 and row[3] > 12 and row[4] > 1001 and row[5] < -41


def test_a_sequence_near_its_end_is_not_set_beyond_it(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with source.session() as conn:
        conn.execute("SELECT setval('public.owned_small_seq', 32760)")
    carry_counters(source, target, A, 1000)
    assert last(target, "public.owned_small_seq") == 32767


def test_an_identity_with_another_name_is_found_by_its_column(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with target.session() as conn:
        conn.execute("ALTER SEQUENCE public.owned_always_seq RENAME TO other")
    carry_counters(source, target, A, 5)
    assert last(target, "public.other") >= 82


def test_a_missing_sequence_is_named(pair: tuple[Database, Database]) -> None:
    source, target = pair
    with target.session() as conn:
        conn.execute("ALTER TABLE public.owned ALTER always DROP IDENTITY")
    with pytest.raises(StoreRejected, match=r"green: column public\.owned\.always draws from no sequence"):
        carry_counters(source, target, A, 5)


def test_a_flip_asks_each_side_once(pair: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = pair
    counters = Counters(source, target, A)
    counters.carry(1)
    statements: list[str] = []
    execute = psycopg.Connection.execute

    def counted(self: psycopg.Connection, query: object, *args: object, **kwargs: object) -> object:
        statements.append(str(query))
        return execute(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    counters.carry(1)
    assert len(statements) == 2


def test_neighbours_that_draw_meanwhile_never_get_a_number_twice(pair: tuple[Database, Database]) -> None:
    source, target = pair
    stop = threading.Event()
    drawn: list[int] = []

    def neighbour() -> None:
        with psycopg.connect(target.dsn, autocommit=True) as conn:
            while not stop.is_set():
                drawn.append(conn.execute("SELECT nextval('bare')", prepare=True).fetchone()[0])

    threads = [threading.Thread(target=neighbour) for _ in range(2)]
    for thread in threads:
        thread.start()
    counters = Counters(source, target, A)
    for _ in range(150):
        with source.session() as conn:
            # Just ahead of where the target is: where lowering would be easiest.
            conn.execute("SELECT setval('public.bare', %s)", ((last(target, "public.bare") or 0) + 2,))
        counters.carry(0)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(drawn) > 100 and len(set(drawn)) == len(drawn)
