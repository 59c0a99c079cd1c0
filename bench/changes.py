"""A mixed workload on the documents table, done in the server so that making it costs the bench little."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from bench.rows import TENANT

#: Written last; whoever has it has everything before it.
SENTINEL = 9_000_000_000

#: One transaction of ``size`` row changes: two fifths inserted, two fifths updated, one fifth deleted. Ids of
#: updates and deletes are random among ``high`` filled ones, so that some hit nothing or the same row twice.
_PROCEDURE = """
CREATE OR REPLACE PROCEDURE public.bench_change(size integer, high bigint, tenant text, next bigint) LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO public.documents
    SELECT i, tenant, 'document ' || md5(i::text),
           CASE WHEN i % 50 = 0 THEN (SELECT string_agg(md5(i::text || k), '') FROM generate_series(1, 190) k)
                ELSE repeat(md5(i::text), 6) END,
           jsonb_build_object('source', 'upload', 'pages', i % 90), sqrt(i), 0, false, clock_timestamp()
      FROM generate_series(next, next + size * 2 / 5 - 1) i;
    UPDATE public.documents SET revision = revision + 1, score = score + 1, updated_at = clock_timestamp()
     WHERE id IN (SELECT 1 + (random() * high)::bigint FROM generate_series(1, size * 2 / 5));
    DELETE FROM public.documents
     WHERE id IN (SELECT 1 + (random() * high)::bigint FROM generate_series(1, size / 5));
END
"""


@dataclass
class Workload:
    """Changes on one database, transaction by transaction; one session, used by one thread."""

    conn: psycopg.Connection[tuple[object, ...]]
    #: Rows that were filled before, with ids from 1.
    filled: int
    tenant: str = TENANT
    next_id: int = 1_000_000_000

    def __post_init__(self) -> None:
        self.conn.execute(_PROCEDURE)
        self.conn.execute("SELECT setseed(0.5)")
        self.conn.execute("SET synchronous_commit = off")

    def change(self, size: int) -> None:
        """One transaction of about ``size`` row changes."""
        self.conn.execute(
            "CALL public.bench_change(%s, %s, %s, %s)",
            (size, self.filled, self.tenant, self.next_id),
        )
        self.next_id += size

    def finish(self) -> None:
        """Write the sentinel."""
        self.conn.execute(
            "INSERT INTO public.documents VALUES (%s, %s, 'sentinel', '', '{}', 0, 0, false, clock_timestamp())",
            (SENTINEL, self.tenant),
        )

    def counted(self) -> int:
        """Row changes of this database so far, as its statistics have it; call when the session is idle."""
        self.conn.execute("SELECT pg_stat_force_next_flush()")
        self.conn.execute("SELECT pg_stat_clear_snapshot()")
        row = self.conn.execute(
            "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'documents'"
        ).fetchone()
        assert row is not None and isinstance(row[0], int)
        return row[0]


def arrived(conn: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether the sentinel is there."""
    return conn.execute("SELECT FROM public.documents WHERE id = %s", (SENTINEL,)).fetchone() is not None
