"""Equal data has equal digests on any two servers, and nothing that differs is missed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from two_sides import TwoSides, two_sides

from tenant_lifecycle.errors import PreconditionRefused, StoreError
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.stores.base import DifferenceKind
from tenant_lifecycle.stores.postgres import digests
from tenant_lifecycle.stores.postgres.comparison import comparison
from tenant_lifecycle.stores.postgres.digests import WHOLE_SET, compare
from tenant_lifecycle.stores.postgres.fingerprints import EXACT

T = TableName.parse
WHOLE = OwnershipMap(per_database=True)

#: Values of every type whose binary form we trust, the awkward ones first.
VALUES = {
    "bool": ["true", "false"],
    "bytea": [r"'\x'", r"'\x00ff'"],
    '"char"': ["'a'", "''"],
    "name": ["'x'", "'Ünïcode'"],
    "int8": ["-9223372036854775808", "0", "9223372036854775807"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "text": ["''", "' '", "'ä'", "'a' || chr(768)", "repeat('toast ', 3000)"],
    "oid": ["0", "4294967295"],
    "json": ["""'{"b": 1,  "a": 1.00}'""", "'null'"],
    "point": ["'(1.1,-0)'"],
    "lseg": ["'[(0,0),(1,1)]'"],
    "path": ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
    "box": ["'((0,0),(1,1))'"],
    "polygon": ["'((0,0),(1,1),(1,0))'"],
    "line": ["'{1,-1,0}'"],
    "circle": ["'<(0,0),3>'"],
    "float4": ["'-0'", "0.1", "'NaN'", "'-Infinity'", "1e-45"],
    "float8": ["'-0'", "0.1", "'NaN'", "'Infinity'", "5e-324"],
    "money": ["12.34", "-1.5"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "inet": ["'10.1.2.3/8'", "'::1'"],
    "cidr": ["'10.0.0.0/8'", "'2001:db8::/32'"],
    "bpchar": ["'x  '", "''"],
    "varchar": ["'x  '", "''"],
    "date": ["'infinity'", "'0044-03-15 BC'", "'2026-02-28'"],
    "time": ["'24:00:00'", "'00:00:00.000001'"],
    "timestamp": ["'-infinity'", "'2026-02-28 12:00:00.000001'"],
    "timestamptz": ["'infinity'", "'2026-03-29 02:30:00+01'"],
    "interval": ["'1 mon'", "'30 days'", "'720:00:00'"],
    "timetz": ["'12:00:00+05:30'"],
    "bit": ["B'1'"],
    "varbit": ["B'101'", "B''"],
    "numeric": ["1.0", "1.00", "'NaN'", "'-Infinity'", "0.000", "1e-200", "1e200"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'"],
    "jsonb": ["""'{"b": 1.00, "a": [null, "é"]}'""", "'1e3'"],
    "pg_lsn": ["'16/B374D848'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "int8range": ["'(,5)'"],
    "numrange": ["'[1.0,1.00]'"],
    "tsrange": ["'[2026-01-01,)'"],
    "tstzrange": ["'[2026-01-01 00:00+00,infinity)'"],
    "daterange": ["'[2026-01-01,2026-02-01]'"],
    # Through their text form:
    "tsvector": ["'a:1 b:2,3C'::tsvector"],
    "tsquery": ["'a & !b:*'::tsquery"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "int4multirange": ["'{[1,3),[5,8)}'"],
    "text[]": ["'{}'", "ARRAY['a,b', NULL, '', 'NULL']", "'[0:1]={x,y}'", "'{{a,b},{c,d}}'"],
    "float8[]": ["ARRAY[0.1, '-0'::float8]"],
    "numeric[]": ["ARRAY[1.0, 1.00]"],
    "bpchar[]": ["ARRAY['x  '::bpchar]"],
    "regclass": ["'pg_class'::regclass"],
    "mood": ["'sad'", "'ok'"],
    "mood[]": ["'{sad,ok}'"],
    "pair": ["ROW(1.00, 'a  ', 'ok')"],
    "pair[]": ["ARRAY[ROW(1, '', 'sad')::pair]"],
    "code": ["'ab '"],
    "moody": ["'ok'"],
    "moodrange": ["'[sad,ok]'"],
}
TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TYPE pair AS (a numeric, b char(3), c mood)",
    "CREATE DOMAIN code AS bpchar CHECK (length(VALUE) < 9)",
    "CREATE DOMAIN moody AS mood",
    "CREATE TYPE moodrange AS RANGE (subtype = mood)",
)


def test_every_trusted_type_is_tried() -> None:
    assert {name.strip('"') for name in VALUES} >= EXACT


@pytest.mark.parametrize("versions", [(16, 18), (15, 18), (15, 16)])
def test_equal_values_of_every_type_are_equal_between_versions(pg_servers, versions) -> None:
    with two_sides(pg_servers, versions, WHOLE) as pair:
        # Other object ids on the target.
        pair.on(pair.target, *(f"CREATE TYPE unused{n} AS ENUM ('x')" for n in range(7)))
        pair.on_both(*TYPES)
        for number, (type_, values) in enumerate(VALUES.items()):
            rows = ", ".join(f"({n}, ({value})::{type_})" for n, value in enumerate([*values, "NULL"]))
            pair.on_both(
                f"CREATE TABLE t{number} (id int PRIMARY KEY, v {type_})",
                f"INSERT INTO t{number} VALUES {rows}",
            )
        assert pair.suspects() == {}
        # And the digests are not equal because they see nothing:
        for number, values in enumerate(VALUES.values()):
            pair.on(pair.target, f"UPDATE t{number} SET v = NULL WHERE id = {len(values) - 1}")
        found = pair.differences()
        assert [(d.set, d.key_text, d.fields) for d in found] == sorted(
            (f"public.t{number}", f"id = {len(values) - 1}", ("v",))
            for number, values in enumerate(VALUES.values())
        )


def test_extension_types_are_compared_exactly(pg_servers) -> None:
    with two_sides(pg_servers, (16, 18), WHOLE) as pair:
        pair.on(pair.target, "CREATE TYPE unused AS ENUM ('x')", "CREATE SCHEMA x")
        pair.on(pair.source, "CREATE EXTENSION vector")
        pair.on(pair.target, "CREATE EXTENSION vector SCHEMA x", "SET search_path = public, x")
        for side, v in ((pair.source, "public"), (pair.target, "x")):
            pair.on(
                side,
                f"CREATE TABLE e (id int PRIMARY KEY, v {v}.vector(3), h {v}.halfvec(2), s {v}.sparsevec(5), "
                f"l {v}.vector[])",
                "INSERT INTO e VALUES (1, '[1,2,0.1]', '[1,-0]', '{1:1,3:2}/5', '{\"[1,2]\",\"[3]\"}'), (2, NULL, NULL, NULL, NULL)",
            )
        assert pair.suspects() == {}
        pair.on(pair.target, "UPDATE e SET v = '[1,2,0.10000001]' WHERE id = 1")
        assert [d.fields for d in pair.differences()] == [("v",)]
        pair.on(pair.target, "UPDATE e SET v = '[1,2,0.1]', h = '[1,0]' WHERE id = 1")
        assert [d.fields for d in pair.differences()] == [("h",)]


ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"


def test_text_keys_of_different_collations_are_equal(pg_servers, monkeypatch) -> None:
    monkeypatch.setattr(digests, "CHUNK_ROWS", 100)
    monkeypatch.setattr(digests, "LEAF_ROWS", 10)
    with two_sides(pg_servers, (15, 18), WHOLE, options=(ICU, "")) as pair:
        words = "(ARRAY['a','B','ä','Z','_',' ','ß','-','é','E'])"
        pair.on_both(
            "CREATE TABLE t (word text, n varchar, PRIMARY KEY (word, n))",
            f"INSERT INTO t SELECT {words}[1 + i % 10] || {words}[1 + i / 10 % 10] || i, {words}[1 + i % 7] "
            "FROM generate_series(1, 1000) i",
            "ANALYZE t",
        )
        order = "SELECT word FROM t ORDER BY word LIMIT 20"
        assert pair.ask(pair.source, order) != pair.ask(pair.target, order)
        compared = compare(pair.source, pair.target, pair.tenant, "public.t", lambda: None)
        assert compared.suspects == {} and compared.items == 1000 and compared.leaves >= 90
        pair.on(pair.target, "UPDATE t SET n = 'x' WHERE word LIKE '%500'")
        assert {d.kind for d in pair.differences()} == {DifferenceKind.MISSING, DifferenceKind.EXTRA}


@pytest.fixture(scope="module")
def numbers(pg_servers) -> Iterator[TwoSides]:
    with two_sides(pg_servers, (16, 18), WHOLE) as pair:
        pair.on_both("CREATE TABLE t (a int, b text, v int, PRIMARY KEY (a, b))")
        yield pair


rows = st.dictionaries(
    st.tuples(
        st.integers(-3, 3) | st.sampled_from([-(2**31), 2**31 - 1]),
        st.sampled_from(["", "a", "B", "é", "'%s"]),
    ),
    st.integers(0, 2),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=rows, right=rows)
def test_exactly_the_keys_that_differ_are_found(numbers: TwoSides, left, right) -> None:
    """Whatever the chunks and leaves: rows outside the source's range, empty sides, composite text keys."""
    patch = pytest.MonkeyPatch()
    with patch.context() as small:
        for name, value in (("CHUNK_ROWS", 5), ("LEAF_ROWS", 2), ("SAMPLE_ROWS", 10_000)):
            small.setattr(digests, name, value)
        for side, data in ((numbers.source, left), (numbers.target, right)):
            with side.session() as conn:
                conn.execute("TRUNCATE public.t")
                conn.cursor().executemany(
                    "INSERT INTO public.t VALUES (%s, %s, %s)", [(*key, v) for key, v in data.items()]
                )
                conn.execute("ANALYZE public.t")
        expected = {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}
        found = numbers.differences()
        assert {d.key for d in found} == {_key(*key) for key in expected}
        assert {d.key for d in found if d.kind is DifferenceKind.MISSING} == {
            _key(*k) for k in left.keys() - right
        }
        assert {d.key for d in found if d.kind is DifferenceKind.EXTRA} == {
            _key(*k) for k in right.keys() - left
        }


def _key(number: int, text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!hiii", 2, 4, number, len(raw)) + raw


OWNERSHIP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("people"): Shared(T("members"), "person", "id"),
        T("members"): Direct("tenant"),
        T("chats"): Via((Hop(("owner",), T("members"), ("id",)), Hop(("tenant",)))),
        T("messages"): Via((Hop(("chat",), T("chats"), ("id",)),)),
        T("log"): Direct("tenant"),
        T("plans"): Global(),
    }
)
TABLES = (
    "CREATE TABLE tenants (id text PRIMARY KEY, name text)",
    "CREATE TABLE people (id int PRIMARY KEY, name text)",
    "CREATE TABLE members (id int PRIMARY KEY, tenant text, person int)",
    "CREATE TABLE chats (id int PRIMARY KEY, owner int, tenant text)",
    "CREATE TABLE messages (id bigint PRIMARY KEY, chat int, body text)",
    "CREATE TABLE log (tenant text, line text)",
    "CREATE TABLE plans (id int PRIMARY KEY)",
)
ROWS = (
    "INSERT INTO tenants VALUES ('acme', 'Acme'), ('bolt', 'Bolt')",
    "INSERT INTO people VALUES (1, 'only acme'), (2, 'both'), (3, 'only bolt'), (4, 'nobody')",
    # A membership without a person must not make everybody look shared.
    "INSERT INTO members VALUES (10, 'acme', 1), (11, 'acme', 2), (12, 'bolt', 2), (13, 'bolt', 3), (14, 'bolt', NULL)",
    "INSERT INTO chats VALUES (20, 10, NULL), (21, NULL, 'acme'), (22, 13, NULL), (23, NULL, 'bolt')",
    "INSERT INTO messages SELECT i, 20 + i % 4, 'm' || i FROM generate_series(1, 40) i",
    "INSERT INTO log VALUES ('acme', 'x'), ('acme', 'x'), ('acme', 'y'), ('bolt', 'x')",
    "INSERT INTO plans VALUES (1)",
)


@pytest.fixture
def owned(pg_servers) -> Iterator[TwoSides]:
    with two_sides(pg_servers, (18, 18), OWNERSHIP) as pair:
        pair.on_both(*TABLES, *ROWS)
        yield pair


def test_neighbours_and_global_rows_are_never_reported(owned) -> None:
    owned.on(
        owned.target,
        "UPDATE tenants SET name = 'x' WHERE id = 'bolt'",
        "DELETE FROM people WHERE id = 3",
        "UPDATE people SET name = 'x' WHERE id = 4",
        "DELETE FROM members WHERE id = 13",
        "UPDATE chats SET owner = NULL WHERE id = 22",
        "DELETE FROM messages WHERE chat = 23",
        "INSERT INTO log VALUES ('bolt', 'x')",
        "TRUNCATE plans",
    )
    assert owned.suspects() == {}


def test_people_of_several_tenants_only_have_to_be_there(owned) -> None:
    owned.on(owned.target, "UPDATE people SET name = 'changed by bolt' WHERE id = 2")
    assert owned.differences() == []
    owned.on(owned.target, "UPDATE people SET name = 'changed' WHERE id = 1")
    assert [(d.set, d.key_text, d.fields) for d in owned.differences()] == [
        ("public.people", "id = 1", ("name",))
    ]
    owned.on(
        owned.target, "UPDATE people SET name = 'only acme' WHERE id = 1", "DELETE FROM people WHERE id = 2"
    )
    assert [(d.key_text, d.kind) for d in owned.differences()] == [("id = 2", DifferenceKind.MISSING)]


def test_a_person_who_is_shared_on_one_side_only_just_has_to_be_there(owned) -> None:
    owned.on(
        owned.target,
        "INSERT INTO members VALUES (15, 'bolt', 1)",
        "UPDATE people SET name = 'x' WHERE id = 1",
    )
    assert owned.differences() == []


def test_a_person_only_the_target_knows_is_found(owned) -> None:
    owned.on(
        owned.target, "INSERT INTO people VALUES (9, 'new')", "INSERT INTO members VALUES (19, 'acme', 9)"
    )
    assert [(d.set, d.kind) for d in owned.differences()] == [
        ("public.people", DifferenceKind.EXTRA),
        ("public.members", DifferenceKind.EXTRA),
    ]


def test_rows_without_a_key_are_compared_as_a_multiset(owned) -> None:
    owned.on(owned.target, "INSERT INTO log VALUES ('acme', 'y')")
    assert owned.suspects() == {"public.log": frozenset({WHOLE_SET})}
    [one] = owned.differences()
    assert one.kind is DifferenceKind.EXTRA and "0 only on the source, 1 only on the target" in one.key_text
    # As many rows as before, but one of them another:
    owned.on(
        owned.target,
        "DELETE FROM log WHERE ctid = (SELECT ctid FROM log WHERE line = 'x' AND tenant = 'acme' LIMIT 1)",
    )
    [one] = owned.differences()
    assert (
        one.kind is DifferenceKind.DIFFERENT and "1 only on the source, 1 only on the target" in one.key_text
    )


def test_generated_columns_count_only_where_the_expression_is_the_same(pg_servers) -> None:
    with two_sides(pg_servers, (16, 18), WHOLE) as pair:
        pair.on_both("CREATE TABLE t (id int PRIMARY KEY, v int)")
        pair.on_both("ALTER TABLE t ADD same int GENERATED ALWAYS AS (v * 2) STORED")
        pair.on(pair.source, "ALTER TABLE t ADD other int GENERATED ALWAYS AS (v + 1) STORED")
        pair.on(pair.target, "ALTER TABLE t ADD other int GENERATED ALWAYS AS (v + 2) STORED")
        pair.on_both("INSERT INTO t VALUES (1, 1)")
        assert pair.suspects() == {}
        pair.on(pair.target, "UPDATE t SET v = 2")
        assert [d.fields for d in pair.differences()] == [("same", "v")]


def test_partitioned_rows_are_equal_wherever_they_lie(pg_servers, monkeypatch) -> None:
    monkeypatch.setattr(digests, "CHUNK_ROWS", 10)
    monkeypatch.setattr(digests, "SAMPLE_ROWS", 1000)
    with two_sides(pg_servers, (16, 18), WHOLE) as pair:
        pair.on_both("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
        pair.on(pair.source, "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)")
        pair.on(
            pair.target,
            "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (50)",
            "CREATE TABLE t2 PARTITION OF t DEFAULT",
        )
        pair.on_both("INSERT INTO t SELECT i, i FROM generate_series(0, 99) i", "ANALYZE t")
        assert pair.suspects() == {}
        with pair.source.session() as conn:
            side = comparison(pair.source, pair.target, pair.tenant).pair("public.t").source
            assert len(digests.chunks(conn, side)) == 10
        pair.on(pair.target, "UPDATE t SET v = 0 WHERE id = 70")
        assert [d.key_text for d in pair.differences()] == ["id = 70"]


def test_hostile_names_and_tenants_are_only_names(pg_servers) -> None:
    hostile = """a"b%s {x} $1 ' é"""
    quoted = '"' + hostile.replace('"', '""') + '"'
    kind = quoted[:-1] + '!"'
    map_ = OwnershipMap({TableName(hostile, hostile): Direct(hostile)})
    with two_sides(pg_servers, (16, 18), map_) as pair:
        pair.tenant = hostile
        text = hostile.replace("'", "''")
        pair.on_both(
            f"CREATE SCHEMA {quoted}",
            f"CREATE TYPE {quoted}.{kind} AS ENUM ('x', '{text}')",
            f"CREATE TABLE {quoted}.{quoted} ({quoted} text, k {quoted}.{kind}, v int, PRIMARY KEY ({quoted}, k))",
            f"INSERT INTO {quoted}.{quoted} VALUES ('{text}', '{text}', 1), ('other', 'x', 1)",
        )
        assert pair.suspects() == {}
        pair.on(pair.target, f"UPDATE {quoted}.{quoted} SET v = v + 1")
        [one] = pair.differences()
        assert one.fields == ("v",) and one.key_text == f"{hostile} = {hostile}, k = {hostile}"
        assert pair.repair() == 1 and pair.suspects() == {}


def test_a_missing_table_or_column_is_said_not_skipped(owned) -> None:
    owned.on(owned.target, "DROP TABLE log", "ALTER TABLE messages DROP COLUMN body")
    with pytest.raises(PreconditionRefused, match=r"public\.log.*green/postgres lacks it"):
        owned.suspects("public.log")
    with pytest.raises(PreconditionRefused, match="lacks column body"):
        owned.suspects("public.messages")


def test_an_error_names_the_side_it_came_from(owned) -> None:
    compare(owned.source, owned.target, owned.tenant, "public.messages", lambda: None)
    owned.on(owned.source, "REVOKE ALL ON messages FROM PUBLIC", "DROP TABLE messages")
    with pytest.raises((StoreError, PreconditionRefused), match="blue/postgres"):
        digests.sets(owned.source, owned.tenant)
        owned.differences("public.messages")


def test_long_work_asks_between_chunks_whether_to_go_on(numbers, monkeypatch) -> None:
    numbers.on_both("INSERT INTO t SELECT i, 'x', 1 FROM generate_series(1, 100) i")
    bounds = [None, *((str(i), "x") for i in range(10, 100, 10)), None]
    fixed = [digests.Chunk(low, high, 1) for low, high in pairwise(bounds)]
    monkeypatch.setattr(digests, "chunks", lambda conn, side: fixed)
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(numbers.source, numbers.target, numbers.tenant, "public.t", check)
    assert len(asked) == 3
