"""What pre-flight says without stopping a move, and how it judges what it saw."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from preflight_pair import ACME, MAP, Two, by_code, make_two, two

from tenant_lifecycle.model.findings import Finding, Severity, refusals
from tenant_lifecycle.stores.postgres.facts import read_facts
from tenant_lifecycle.stores.postgres.preflight import Limits
from tenant_lifecycle.stores.postgres.preflight.capacity import check_room
from tenant_lifecycle.stores.postgres.preflight.pair import Pair, Side
from tenant_lifecycle.stores.postgres.preflight.server import check_servers, check_text
from tenant_lifecycle.stores.postgres.tables import read_tables

#: Fixtures.
__all__ = ["make_two", "two"]


def test_what_does_not_stop_a_move_is_a_warning(two: Two) -> None:
    two.blue.execute(
        "CREATE VIEW v AS SELECT * FROM chunks; CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM v;"
        "CREATE SEQUENCE bare; CREATE PUBLICATION theirs FOR TABLE documents WHERE (id > 5);"
        "CREATE PUBLICATION tl_0192ab34cd56_fwd FOR TABLE documents"
    )
    two.blue.execute("SELECT pg_create_logical_replication_slot('tl_0192ab34cd57_rev', 'pgoutput')")
    two.green.execute(
        "INSERT INTO documents (id, tenant_id, slug) OVERRIDING SYSTEM VALUE VALUES (500, 'neighbour', '')"
    )
    found = two.look()
    assert not refusals(found)
    for code, word in {
        "pg.materialised-view": "public.mv",
        "pg.sequence-bare": "public.bare",
        "pg.publication-filter": "theirs",
        "pg.leftover-slot": "tl_0192ab34cd57_rev",
        "pg.leftover-publication": "tl_0192ab34cd56_fwd",
        "pg.sequence-overlap": "public.documents.id",
        "pg.keyless": "public.events",
    }.items():
        (finding,) = by_code(found, code)
        assert finding.severity is Severity.WARNING and word in finding.message and finding.next_step, code


def test_ranges_far_apart_are_no_overlap(two: Two) -> None:
    two.green.execute(
        "INSERT INTO documents (id, tenant_id, slug) OVERRIDING SYSTEM VALUE VALUES (1000000000, 'neighbour', '')"
    )
    assert not by_code(two.look(), "pg.sequence-overlap")


def test_disjoint_numbering_is_no_overlap(two: Two) -> None:
    for conn, start in ((two.blue, 1001), (two.green, 1002)):
        conn.execute(f"ALTER TABLE documents ALTER id SET INCREMENT BY 2 RESTART WITH {start}".encode())
        conn.execute("SELECT nextval('documents_id_seq')")
    two.green.execute("INSERT INTO documents (tenant_id, slug) VALUES ('neighbour', 'far')")
    assert not by_code(two.look(), "pg.sequence-overlap")


def test_generated_and_identity_columns_are_reported_in_order(two: Two) -> None:
    found = two.look()
    assert "documents.size" in by_code(found, "pg.generated-column")[0].message
    assert "documents.id" in by_code(found, "pg.identity-column")[0].message
    assert "2 sequences" in by_code(found, "pg.sequence")[0].message


def test_a_sample_says_that_it_is_one(two: Two) -> None:
    two.green.execute("DELETE FROM documents; ")
    found = two.look(limits=Limits(compared_rows=5))
    assert "first 5 rows" in by_code(found, "pg.collision-sampled")[0].message
    assert not refusals(found)


def judged(two: Two, check: Callable[[Pair], Iterator[Finding]], **facts) -> dict[str, Finding]:
    """What one check says when both servers are as they are, but for ``facts`` of the target."""
    with two.source.session() as blue, two.target.session() as green:
        sides = []
        for database, conn in ((two.source, blue), (two.target, green)):
            tables = read_tables(conn)
            seen = read_facts(conn)
            sides.append(
                Side(database.name, conn, replace(seen, **facts) if database is two.target else seen, MAP, tables,
                     MAP.resolve(ACME, frozenset(tables)))
            )  # fmt: skip
        pair = Pair(sides[0], sides[1], ACME, Limits())
        return {finding.code: finding for finding in check(pair)}


def test_another_sort_order_is_a_warning_where_keys_are_text(two: Two) -> None:
    assert "pg.collation" not in judged(two, check_text)
    found = judged(two, check_text, collate="de_DE.UTF-8")["pg.collation"]
    assert found.severity is Severity.WARNING and "public.tenants" in found.message
    assert "public.chunks" not in found.message


def test_indexes_built_by_another_library_are_a_warning(two: Two) -> None:
    found = judged(two, check_text, collation_version="2.28", actual_collation_version="2.36")
    assert "REINDEX" in found["pg.collation-version"].next_step


def test_less_kept_wal_than_the_tenant_has_data_is_a_warning(two: Two) -> None:
    two.blue.execute(
        "INSERT INTO events SELECT 'acme', repeat(md5(i::text), 20) FROM generate_series(1, 4000) i"
    )
    two.blue.execute("ANALYZE")
    source, target = two.source, two.target
    two.source, two.target = target, source
    found = judged(two, lambda pair: check_room(replace(pair, source=pair.target)), slot_wal_keep_mb=1)
    assert found["pg.slot-wal-keep-size"].severity is Severity.WARNING


def test_a_server_without_logical_wal_stops_a_move(two: Two) -> None:
    assert judged(two, check_servers, wal_level="replica")["pg.wal-level"].severity is Severity.REFUSAL
