"""The peer of the apply benches: PostgreSQL's own subscription on a slot that exists already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

PUBLICATION = "bench_native"


def publish(source: str) -> None:
    """Publish the documents table, once."""
    with psycopg.connect(source, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE PUBLICATION {} FOR TABLE public.documents").format(sql.Identifier(PUBLICATION))
        )


def hold(source: str, slot: str) -> None:
    """Create a slot: changes from now on wait for a subscription."""
    with psycopg.connect(source, autocommit=True) as conn:
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))


@contextmanager
def subscription(source: str, target: str, slot: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Start applying what waits in the slot; yields a session on the target. Both are gone afterwards.

    Binary transfer, the server's fastest; everything else as it comes, which for a subscription means
    ``synchronous_commit = off`` on the target.
    """
    name = sql.Identifier(slot)
    with psycopg.connect(target, autocommit=True) as conn:
        conn.execute(
            sql.SQL(
                "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH "
                "(slot_name = {}, create_slot = false, copy_data = false, enabled = true, binary = true)"
            ).format(name, sql.Literal(source), sql.Identifier(PUBLICATION), sql.Literal(slot))
        )
        try:
            yield conn
        finally:
            conn.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
            conn.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
            conn.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))
            _drop_slot(source, slot)


def _drop_slot(source: str, slot: str) -> None:
    """The subscription's worker needs a moment to let go of the slot."""
    with psycopg.connect(source, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s AND active",
            (slot,),
        )
        conn.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
