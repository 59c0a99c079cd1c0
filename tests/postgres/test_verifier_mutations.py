"""Damage done to the target, one piece at a time: the verifier finds each, names it, and repairs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from two_sides import TwoSides, two_sides

from tenant_lifecycle.errors import Fenced, UnsupportedByStore
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.base import DifferenceKind, Feed
from tenant_lifecycle.stores.postgres.comparison import comparison
from tenant_lifecycle.stores.postgres.repair import repair

T = TableName.parse
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("people"): Shared(T("members"), "person", "id"),
        T("members"): Direct("tenant"),
        T("wide"): Direct("tenant"),
        T("children"): Via((Hop(("wide",), T("wide"), ("id",)),)),
        T("events"): Direct("tenant"),
        T("log"): Direct("tenant"),
    }
)
SCHEMA = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TYPE money_in AS (amount numeric, currency text)",
    "CREATE DOMAIN slug AS text CHECK (VALUE <> '-')",
    "CREATE TABLE tenants (id text PRIMARY KEY, name text)",
    "CREATE TABLE people (id uuid PRIMARY KEY, email text UNIQUE)",
    "CREATE TABLE members (tenant text, person uuid, PRIMARY KEY (tenant, person))",
    """CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL,
       txt text, fixed char(5), code varchar(9) UNIQUE, n numeric, small smallint, f4 real, f8 float8, flag bool,
       raw bytea, j jsonb, js json, ts timestamptz, d date, took interval, u uuid, tags text[], nums numeric[],
       moods mood[], mood mood, slug slug, price money_in, span tstzrange, ip inet, emb vector(3), big text,
       twice numeric GENERATED ALWAYS AS (n * 2) STORED)""",
    "CREATE TABLE children (id uuid PRIMARY KEY, wide bigint, body text)",
    "CREATE TABLE events (tenant text, at timestamptz, id int, v text, PRIMARY KEY (tenant, at, id)) "
    "PARTITION BY RANGE (at)",
    "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    "CREATE TABLE events_2 PARTITION OF events DEFAULT",
    "CREATE TABLE log (tenant text, at timestamptz, line text)",
)
ROWS = (
    "INSERT INTO tenants VALUES ('acme', 'Acme'), ('bolt', 'Bolt')",
    "INSERT INTO people SELECT md5(i::text)::uuid, 'p' || i FROM generate_series(1, 9) i",
    "INSERT INTO members SELECT CASE WHEN i % 3 = 0 THEN 'bolt' ELSE 'acme' END, md5(i::text)::uuid "
    "FROM generate_series(1, 9) i UNION VALUES ('bolt', md5('1')::uuid)",
    """INSERT INTO wide (tenant, txt, fixed, code, n, small, f4, f8, flag, raw, j, js, ts, d, took, u, tags, nums,
       moods, mood, slug, price, span, ip, emb, big)
       SELECT CASE WHEN i % 2 = 0 THEN 'bolt' ELSE 'acme' END, 'text ' || i, 'f' || i, 'c' || i, 1.0, i, 0.0, 0.0,
       true, '\\x0001', '{"a": 1.0, "b": [1, 2]}', '{"a":1, "b":2}', '2026-01-01 12:00:00.000001+00', '2026-01-01',
       '1 mon', md5(i::text)::uuid, '{a,b}', '{1.0,2}', '{sad,ok}', 'ok', 's', ROW(1.0, 'EUR')::money_in,
       '[2026-01-01,2026-02-01)', '10.0.0.1/8', '[1,2,3]', repeat(md5(i::text), 500) FROM generate_series(1, 40) i""",
    "INSERT INTO children SELECT md5(i::text)::uuid, 1 + i % 40, 'b' || i FROM generate_series(1, 80) i",
    "INSERT INTO events SELECT CASE WHEN i % 2 = 0 THEN 'bolt' ELSE 'acme' END, "
    "timestamptz '2026-01-01 00:00+00' + i * interval '1 day', i, 'v' FROM generate_series(1, 60) i",
    "INSERT INTO log SELECT 'acme', '2026-01-01 00:00+00', 'line ' || i % 4 FROM generate_series(1, 12) i",
)


@pytest.fixture(scope="module")
def pair(pg_servers) -> Iterator[TwoSides]:
    with two_sides(pg_servers, (16, 18), MAP) as sides:
        # Other object ids for types on the target.
        sides.on(sides.target, "CREATE TYPE unused AS ENUM ('x')")
        sides.on_both(*SCHEMA, *ROWS)
        assert sides.suspects() == {}
        yield sides


#: column -> assignments that change row 1 as little as that type allows.
ONE_CELL = {
    "txt": ["'text 1 '", "'Text 1'", "''", "NULL", "'text 1' || chr(8203)", "'tеxt 1'"],
    "fixed": ["'f2'", "NULL"],
    "code": ["'c1 '", "NULL"],
    "n": ["1.00", "1", "'NaN'", "1.0000000000000000000001"],
    "small": ["2"],
    "f4": ["'-0'", "1e-45"],
    "f8": ["'-0'", "5e-324", "'NaN'"],
    "flag": ["false", "NULL"],
    "raw": [r"'\x0000'", r"'\x'", r"'\x000100'"],
    "j": ["""'{"a": 1.00, "b": [1, 2]}'""", """'{"a": 1.0, "b": [2, 1]}'""", "'null'", "NULL"],
    "js": ["""'{"a":1,"b":2}'""", """'{"b":2, "a":1}'"""],
    "ts": ["ts + interval '1 microsecond'", "'infinity'"],
    "d": ["d + 1"],
    "took": ["'30 days'"],
    "u": ["overlay(u::text PLACING 'f' FROM 36)::uuid"],
    "tags": ["'{b,a}'", "'{a,b,NULL}'", "'[0:1]={a,b}'", "'{{a,b}}'", "'{}'", "NULL"],
    "nums": ["'{1.00,2}'"],
    "moods": ["'{ok,sad}'"],
    "mood": ["'happy'", "NULL"],
    "slug": ["'S'", "''"],
    "price": ["ROW(1.00, 'EUR')::money_in", "ROW(1.0, NULL)::money_in", "NULL"],
    "span": ["'[2026-01-01,2026-02-01]'", "'empty'"],
    "ip": ["'10.0.0.1/16'"],
    "emb": ["'[1,2,3.0000002]'", "'[2,1,3]'"],
    "big": ["overlay(big PLACING '!' FROM 15999)"],
}
COMPUTED = {"n": ("n", "twice")}


@pytest.mark.parametrize("column", ONE_CELL)
def test_one_changed_cell_is_found_named_and_repaired(pair: TwoSides, column: str) -> None:
    changes = ONE_CELL[column]
    # One row for each change: ids 1, 3, 5 ... are the tenant's.
    for number, value in enumerate(changes):
        pair.on(pair.target, f"UPDATE wide SET {column} = {value} WHERE id = {1 + 2 * number}")
    found = pair.differences()
    assert [d.kind for d in found] == [DifferenceKind.DIFFERENT] * len(changes)
    assert {d.set for d in found} == {"public.wide"}
    assert {d.key_text for d in found} == {f"id = {1 + 2 * number}" for number in range(len(changes))}
    # 1.0 and 1.00 twice are 2.0 and 2.00: the computed column differs with the one it comes from.
    assert {d.fields for d in found} == {COMPUTED.get(column, (column,))}
    assert pair.repair() == len(changes)
    assert pair.suspects() == {}


def test_every_column_is_damaged_once() -> None:
    columns = SCHEMA[7].replace("\n", " ")
    assert all(f" {name} " in columns for name in ONE_CELL)
    assert len(ONE_CELL) == columns.count(",") + 1 - len(("id", "tenant", "twice"))


@dataclass(frozen=True)
class Damage:
    name: str
    statements: tuple[str, ...]
    #: (set, key, kind, columns)
    expected: tuple[tuple[str, str, DifferenceKind, tuple[str, ...]], ...]
    #: How many rows a repair changes; None: it cannot be repaired row by row.
    repaired: int | None


U = {i: f"md5('{i}')::uuid" for i in range(1, 100)}
MISSING, EXTRA, DIFFERENT = DifferenceKind.MISSING, DifferenceKind.EXTRA, DifferenceKind.DIFFERENT
DAMAGES = [
    Damage("a row is gone", ("DELETE FROM wide WHERE id = 5",), (("wide", "id = 5", MISSING, ()),), None),
    Damage(
        "a row came up",
        ("INSERT INTO wide (id, tenant, txt) OVERRIDING SYSTEM VALUE VALUES (999, 'acme', 'x')",),
        (("wide", "id = 999", EXTRA, ()),),
        1,
    ),
    Damage(
        "a row beyond the source's last key",
        ("INSERT INTO wide (id, tenant) OVERRIDING SYSTEM VALUE VALUES (9223372036854775807, 'acme'), "
         "(-9223372036854775808, 'acme')",),
        (("wide", "id = -9223372036854775808", EXTRA, ()), ("wide", "id = 9223372036854775807", EXTRA, ())),
        2,
    ),
    Damage(
        "two rows swapped a value",
        ("UPDATE wide SET txt = CASE id WHEN 7 THEN 'text 9' ELSE 'text 7' END WHERE id IN (7, 9)",),
        (("wide", "id = 7", DIFFERENT, ("txt",)), ("wide", "id = 9", DIFFERENT, ("txt",))),
        2,
    ),
    Damage(
        "two rows swapped all values but the key",
        ("UPDATE wide w SET txt = o.txt, fixed = o.fixed, small = o.small, u = o.u, big = o.big "
         "FROM wide o WHERE (w.id, o.id) IN ((7, 9), (9, 7))",),
        (
            ("wide", "id = 7", DIFFERENT, ("big", "fixed", "small", "txt", "u")),
            ("wide", "id = 9", DIFFERENT, ("big", "fixed", "small", "txt", "u")),
        ),
        2,
    ),
    Damage(
        "two columns of a row swapped their values",
        ("UPDATE wide SET txt = code, code = 'text 11' WHERE id = 11",),
        (("wide", "id = 11", DIFFERENT, ("code", "txt")),),
        1,
    ),
    Damage(
        "a key changed",
        ("UPDATE children SET id = md5('new')::uuid WHERE body = 'b4'",),
        (("children", "?", MISSING, ()), ("children", "?", EXTRA, ())),
        2,
    ),
    Damage(
        "a child went to another parent of the tenant",
        ("UPDATE children SET wide = 3 WHERE body = 'b4'",),
        (("children", "?", DIFFERENT, ("wide",)),),
        1,
    ),
    Damage(
        "a row lies in another partition",
        ("UPDATE events SET at = '2026-07-01 00:00+00' WHERE id = 1",),
        (
            ("events", "tenant = acme, at = 2026-01-02 00:00:00+00, id = 1", MISSING, ()),
            ("events", "tenant = acme, at = 2026-07-01 00:00:00+00, id = 1", EXTRA, ()),
        ),
        2,
    ),
    Damage(
        "a membership is gone, and with it the person",
        ("DELETE FROM members WHERE person = md5('2')::uuid",),
        (("members", "?", MISSING, ()),),
        1,
    ),
    Damage(
        "a person is gone",
        ("DELETE FROM people WHERE id = md5('1')::uuid",),
        (("people", "?", MISSING, ()),),
        1,
    ),
    Damage(
        "a person of the tenant alone was changed",
        ("UPDATE people SET email = 'P2' WHERE id = md5('2')::uuid",),
        (("people", "?", DIFFERENT, ("email",)),),
        1,
    ),
    Damage("the tenant itself", ("UPDATE tenants SET name = 'ACME' WHERE id = 'acme'",),
           (("tenants", "id = acme", DIFFERENT, ("name",)),), 1),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_found_named_and_repaired(pair: TwoSides, damage: Damage) -> None:
    pair.on(pair.target, *damage.statements)
    found = [(d.set, d.key_text, d.kind, d.fields) for d in pair.differences()]
    assert len(found) == len(damage.expected)
    for one, (set_name, key, kind, fields) in zip(
        sorted(found, key=str),
        sorted(damage.expected, key=lambda e: (e[0], e[1] == "?" or e[1], str(e))),
        strict=True,
    ):
        if key == "?":
            assert one[0] == f"public.{set_name}"
        else:
            assert one == (f"public.{set_name}", key, kind, fields)
    assert sorted((k.value, f) for _, _, k, f in found) == sorted(
        (k.value, f) for _, _, k, f in damage.expected
    )
    changed = pair.repair()
    assert damage.repaired is None or changed == damage.repaired
    # Children of a row that was gone had no owner on the target; the second look has nothing left to do.
    assert pair.suspects() == {}


def test_a_row_of_another_tenant_is_reported_and_never_touched(pair: TwoSides) -> None:
    """A row that changed hands on the target, and an id that another tenant took."""
    pair.on(pair.target, "UPDATE wide SET tenant = 'bolt' WHERE id = 13")
    before = pair.ask(pair.target, "SELECT * FROM wide WHERE tenant = 'bolt' ORDER BY id")
    found = {(d.set, d.key_text, d.kind) for d in pair.differences()}
    assert ("public.wide", "id = 13", MISSING) in found
    assert pair.repair() == 0
    assert pair.ask(pair.target, "SELECT * FROM wide WHERE tenant = 'bolt' ORDER BY id") == before
    assert ("public.wide", "id = 13", MISSING) in {(d.set, d.key_text, d.kind) for d in pair.differences()}
    pair.on(pair.target, "UPDATE wide SET tenant = 'acme' WHERE id = 13")
    assert pair.suspects() == {}


def test_people_shared_with_others_are_never_overwritten(pair: TwoSides) -> None:
    pair.on(pair.target, "UPDATE people SET email = 'changed by bolt' WHERE id = md5('1')::uuid")
    [key] = [
        d.key
        for d in _all_people(pair)
        if d.key_text.endswith(pair.ask(pair.source, "SELECT md5('1')::uuid::text")[0][0])
    ]
    assert repair(pair.source, pair.target, pair.feed, {"public.people": frozenset({key})}) == 0
    assert pair.ask(pair.target, "SELECT email FROM people WHERE id = md5('1')::uuid") == [
        ("changed by bolt",)
    ]
    pair.on(pair.target, "UPDATE people SET email = 'p1' WHERE id = md5('1')::uuid")


def _all_people(pair: TwoSides) -> list:
    """Every person as a difference, to get at the keys."""
    pair.on(
        pair.target, "ALTER TABLE people RENAME TO hidden", "CREATE TABLE people (LIKE hidden INCLUDING ALL)"
    )
    comparison(pair.source, pair.target, pair.tenant, max_age_s=0)
    found = pair.differences("public.people")
    pair.on(pair.target, "DROP TABLE people", "ALTER TABLE hidden RENAME TO people")
    comparison(pair.source, pair.target, pair.tenant, max_age_s=0)
    return found


LOG_DAMAGES = {
    "one more of equal rows": ("INSERT INTO log VALUES ('acme', '2026-01-01 00:00+00', 'line 1')", EXTRA),
    "one less of equal rows": ("DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE line = 'line 2')", MISSING),
    "one changed": ("UPDATE log SET line = 'line 3' WHERE ctid = (SELECT min(ctid) FROM log WHERE line = 'line 2')", DIFFERENT),
    "a pair added": ("INSERT INTO log SELECT 'acme', '2026-01-01 00:00+00', 'new' FROM generate_series(1, 2)", EXTRA),
}  # fmt: skip


@pytest.mark.parametrize("name", LOG_DAMAGES)
def test_damage_to_rows_without_a_key_is_found(pair: TwoSides, name: str) -> None:
    statement, kind = LOG_DAMAGES[name]
    pair.on(pair.target, statement)
    assert [(d.set, d.key, d.kind) for d in pair.differences()] == [("public.log", b"", kind)]
    with pytest.raises(UnsupportedByStore, match=r"public\.log has no key"):
        pair.repair()
    pair.on(pair.target, "TRUNCATE log", ROWS[-1])
    assert pair.suspects() == {}


def test_a_repair_is_ours_and_fires_no_trigger(pair: TwoSides) -> None:
    pair.on(
        pair.target,
        "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$",
        "UPDATE wide SET txt = 'x' WHERE id = 3",
        "CREATE TRIGGER boom BEFORE INSERT OR DELETE ON wide FOR EACH ROW EXECUTE FUNCTION boom()",
    )
    writes = "SELECT coalesce(sum(writes), 0) FROM tenant_lifecycle.applied WHERE lane = 'repair'"
    before = pair.ask(pair.target, writes)[0][0]
    assert pair.repair() == 1
    assert pair.ask(pair.target, writes)[0][0] == before + 1
    pair.on(pair.target, "DROP TRIGGER boom ON wide", "DROP FUNCTION boom")


def test_an_old_driver_repairs_nothing(pair: TwoSides) -> None:
    pair.on(pair.target, "UPDATE wide SET txt = 'x' WHERE id = 3")
    keys = pair.suspects()
    newer = Feed("tl_fence_fwd", pair.tenant, 8)
    assert repair(pair.source, pair.target, newer, keys) == 1
    pair.on(pair.target, "UPDATE wide SET txt = 'x' WHERE id = 3")
    with pytest.raises(Fenced):
        repair(pair.source, pair.target, Feed("tl_fence_fwd", pair.tenant, 7), keys)
    assert pair.ask(pair.target, "SELECT txt FROM wide WHERE id = 3") == [("x",)]
    assert repair(pair.source, pair.target, newer, keys) == 1
