"""Opening the control database: SQLite for one host, PostgreSQL for many; one way to write, one to read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from tenant_lifecycle.errors import StoreBusy, StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.evidence.merkle import Frontier

#: Name of the control database in errors.
STORE = "control"
#: How long SQLite waits for another writer.
BUSY_TIMEOUT_MS = 30_000


#: PostgreSQL's clock, seconds since 1970.
POSTGRES_CLOCK: sa.ColumnElement[float] = sa.literal_column(
    "CAST(extract(epoch FROM clock_timestamp()) AS double precision)", sa.Double
)


class ControlDatabase:
    """One control database. Threads share it; after a fork, open another."""

    def __init__(self, where: str | Path) -> None:
        """``where``: the path of an SQLite file, ``sqlite:///...``, or a PostgreSQL DSN (URI or key=value)."""
        self.engine = _open(_url(where))
        #: The audit log's end as this process last wrote it, by the hash of its last leaf; `catalog.audit` uses it
        #: only while the database names the same leaf.
        self.audit_end: tuple[str, Frontier] | None = None
        self.sqlite = self.engine.dialect.name == "sqlite"

    def clock(self) -> sa.ColumnElement[float]:
        """The time as an SQL expression, seconds since 1970.

        PostgreSQL's own clock, read when the statement runs (``now()`` stands still in a transaction). All
        processes that use an SQLite file are on one host, so its clock is everybody's.
        """
        if self.sqlite:
            return sa.literal(time.time(), sa.Double)
        return POSTGRES_CLOCK

    def now(self) -> float:
        """The time."""
        if self.sqlite:
            return time.time()
        with self.reading() as conn:
            return float(conn.execute(sa.select(self.clock())).scalar_one())

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write; committed when the block ends, rolled back when it raises.

        Raises:
            StoreError: the database did not answer or refused; whether a commit happened is then unknown.
        """
        with translating(), self.engine.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads; waits for no writer."""
        with translating(), self.engine.connect() as conn:
            conn.execution_options(**{_READS: True})
            with conn.begin():
                yield conn

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


_READS = "tenant_lifecycle_reads"


def _url(where: str | Path) -> URL:
    if isinstance(where, Path):
        return URL.create("sqlite+pysqlite", database=str(where))
    if where.startswith("sqlite"):
        return make_url(where)
    if where.startswith(("postgresql://", "postgres://")):
        # Whatever libpq understands (several hosts, socket folders) reaches it unchanged.
        return URL.create("postgresql+psycopg", query={"dsn": where})
    if "=" in where and "/" not in where.partition("=")[0]:
        return URL.create("postgresql+psycopg", query={"dsn": where})
    return URL.create("sqlite+pysqlite", database=where)


def _open(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, max_overflow=-1, pool_timeout=30)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    dsn = url.query["dsn"]

    def connect() -> Any:
        import psycopg

        return psycopg.connect(
            str(dsn),
            application_name="tenant-lifecycle control",
            connect_timeout=5,
            tcp_user_timeout=15_000,
            # Our transactions take milliseconds. One of a stopped process must not keep a row locked for ever:
            # while it does, nobody can take the operation over.
            options="-c idle_in_transaction_session_timeout=10s -c synchronous_commit=on",
        )

    return sa.create_engine(
        "postgresql+psycopg://", creator=connect, max_overflow=-1, pool_pre_ping=True, pool_recycle=1800
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Python would otherwise open transactions of its own, and deferred ones.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    # A deferred transaction that turns into a writer deadlocks with another one: writers say so at once.
    reads = conn.get_execution_options().get(_READS, False)
    conn.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def translating() -> Iterator[None]:
    """Turn the drivers' errors about the server or file into ours; others (constraints) pass."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _ours(error) from error


def _ours(error: DBAPIError) -> StoreError:
    text = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    message = f"control database: {text}"
    state = getattr(error.orig, "sqlstate", None) or ""
    if "locked" in text or state in ("55P03", "40P01", "40001"):
        return StoreBusy(message, store=STORE, next_step="try again; look for a long transaction on it")
    if state.startswith("28") or "password" in text or "readonly" in text:
        return StoreRejected(
            message, store=STORE, next_step="check the control database's address and rights"
        )
    return StoreUnavailable(message, store=STORE, next_step="see whether the control database is running")
