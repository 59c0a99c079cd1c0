"""A mixed workload on the documents table, done in the server so that making it costs the bench little.

``python -m bench.changes DSN FILLED RATE SECONDS`` makes ``RATE`` row changes a second from a process of its own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import psycopg

from bench.rows import TENANT

#: Written last; whoever has it has everything before it.
SENTINEL = 9_000_000_000

#: One transaction of ``size`` row changes: two fifths inserted, two fifths updated, one fifth deleted. Of the
#: filled rows the first half is deleted in a scattered order (each once, never one that was just inserted, so
#: that nothing cancels out), the second half is updated at random.
_PROCEDURE = """
CREATE OR REPLACE PROCEDURE public.bench_change(size integer, half bigint, tenant text, next bigint) LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO public.documents
    SELECT i, tenant, 'document ' || md5(i::text),
           CASE WHEN i % 50 = 0 THEN (SELECT string_agg(md5(i::text || k), '') FROM generate_series(1, 190) k)
                ELSE repeat(md5(i::text), 6) END,
           jsonb_build_object('source', 'upload', 'pages', i % 90), sqrt(i), 0, false, clock_timestamp()
      FROM generate_series(next, next + size * 2 / 5 - 1) i;
    UPDATE public.documents SET revision = revision + 1, score = score + 1, updated_at = clock_timestamp()
     WHERE id IN (SELECT half + 1 + floor(random() * half)::bigint FROM generate_series(1, size * 2 / 5));
    DELETE FROM public.documents
     WHERE id IN (SELECT 1 + (i * 7919) % half FROM generate_series(next / 2, next / 2 + size / 5 - 1) i);
END
"""


@dataclass
class Workload:
    """Changes on one database, transaction by transaction; one session, used by one thread."""

    conn: psycopg.Connection[tuple[object, ...]]
    #: Rows that were filled before, with ids from 1; no more than half as many may be deleted.
    filled: int
    tenant: str = TENANT
    next_id: int = 1_000_000_000

    def __post_init__(self) -> None:
        self.conn.execute(_PROCEDURE)
        self.conn.execute("SELECT setseed(0.5)")
        # The source's durability is not what is measured, and both sides get the same log.
        self.conn.execute("SET synchronous_commit = off")

    def change(self, size: int) -> None:
        """One transaction of ``size`` row changes, a multiple of 5."""
        self.conn.execute(
            "CALL public.bench_change(%s, %s, %s, %s)", (size, self.filled // 2, self.tenant, self.next_id)
        )
        self.next_id += size * 2 // 5

    def finish(self) -> None:
        """Write the sentinel."""
        insert(self.conn, SENTINEL, self.tenant)

    def counted(self) -> int:
        """Row changes of this database so far, as its statistics have it; call when the session is idle."""
        self.conn.execute("SELECT pg_stat_force_next_flush()")
        self.conn.execute("SELECT pg_stat_clear_snapshot()")
        row = self.conn.execute(
            "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'documents'"
        ).fetchone()
        assert row is not None and isinstance(row[0], int)
        return row[0]


def insert(conn: psycopg.Connection[tuple[object, ...]], row: int, tenant: str = TENANT) -> None:
    """One small document with that id."""
    conn.execute(
        "INSERT INTO public.documents VALUES (%s, %s, 'probe', '', '{}', 0, 0, false, clock_timestamp())",
        (row, tenant),
    )


def arrived(conn: psycopg.Connection[tuple[object, ...]], row: int = SENTINEL) -> bool:
    """Whether the document is there."""
    return conn.execute("SELECT FROM public.documents WHERE id = %s", (row,)).fetchone() is not None


def keep_rate(dsn: str, filled: int, rate: int, seconds: float, size: int = 100) -> int:
    """Make ``rate`` row changes a second in transactions of ``size``; return how many were really made."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        workload = Workload(conn, filled)
        before = workload.counted()
        began = due = time.monotonic()
        while due - began < seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            workload.change(size)
            due += size / rate
        took = time.monotonic() - began
        return round((workload.counted() - before) / took)


if __name__ == "__main__":
    print(keep_rate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
