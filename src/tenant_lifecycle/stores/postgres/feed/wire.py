"""A replication connection: how it is made, begun, and what the server's last word on it means.

Protocol: PostgreSQL documentation, "Streaming Replication Protocol". Whoever streams (a feed, an archive) decides
what to do with the messages.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import errors as pg
from psycopg import generators, pq, waiting
from psycopg.pq.abc import PGconn

from tenant_lifecycle.errors import FeedError, FeedGap, LifecycleError, StoreUnavailable
from tenant_lifecycle.stores.postgres.connection import Connection, translated
from tenant_lifecycle.stores.postgres.database import Database

#: The server gets so long to begin the stream.
BEGIN_S = 30.0
#: What the server says when the slot, or what it should have kept, is not there any more.
GONE = (pg.UndefinedObject, pg.ObjectNotInPrerequisiteState, pg.UndefinedFile)


def connect(database: Database, application: str, options: str) -> Connection:
    """A connection to a walsender of the database; ``options`` are libpq's.

    Raises:
        StoreUnavailable, StoreRejected: as `connection.connect`.
    """
    # Not libpq's PQconnectdb: that holds the interpreter's lock, and every other thread, until it is through.
    try:
        return psycopg.connect(
            database.dsn,
            autocommit=True,
            replication="database",
            options=options,
            application_name=application,
            connect_timeout=5,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
    except psycopg.Error as exc:
        raise translated(exc, database.name) from exc


def begin(session: Connection, store: str, command: str) -> psycopg.Error | None:
    """Send the command; None if the stream has begun, else what the server said.

    Raises:
        StoreUnavailable: the wire was cut; the session is closed.
    """
    conn = session.pgconn
    try:
        conn.nonblocking = 1
        conn.send_query(command.encode())
        (result,) = waiting.wait(generators.execute(conn), conn.socket, 0.1, BEGIN_S)
    except psycopg.Error as exc:
        session.close()
        raise StoreUnavailable(f"{store}: {exc}", store=store) from exc
    return None if result.status == pq.ExecStatus.COPY_BOTH else pg.error_from_result(result)


def ended(conn: PGconn, store: str, gap: Callable[[str], FeedGap]) -> LifecycleError:
    """The error for a stream that the server ended."""
    said = conn.error_message.decode(errors="replace").strip()
    result = conn.get_result()
    if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
        error = pg.error_from_result(result)
        if isinstance(error, GONE):
            return gap(str(error).strip())
        if error.sqlstate is not None and not isinstance(error, psycopg.OperationalError):
            return FeedError(f"{store}: the server ended the stream: {str(error).strip()}", store=store)
    return StoreUnavailable(
        f"{store}: the stream was cut: {said or 'the server closed it'}",
        store=store,
    )
