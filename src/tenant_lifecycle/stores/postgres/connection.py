"""Connections with settings that make data mean the same everywhere, and the driver's errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from tenant_lifecycle.errors import LifecycleError, StoreBusy, StoreReadOnly, StoreRejected, StoreUnavailable

#: Text forms of values, and what a session of ours must never be: timed out in the middle or blind to rows.
SESSION = {
    "application_name": "tenant-lifecycle",
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "search_path": "pg_catalog",
    "row_security": "off",
    # Our transactions never rest. One that does belongs to a driver that died on the other end of a wire that
    # still stands, and holds what the next driver needs.
    "idle_in_transaction_session_timeout": "30000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "statement_timeout": "0",
    "lock_timeout": "0",
    # Compiling a catalogue query takes longer than running it, and a flip has milliseconds.
    "jit": "off",
    # The fence reads rows after it waited for locks; a session with one snapshot would not see them.
    "default_transaction_isolation": "read committed",
}

Connection = psycopg.Connection[tuple[object, ...]]


def session_options() -> str:
    """`SESSION` as libpq's ``options``."""
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SESSION.items())


def connect(dsn: str, store: str, *, autocommit: bool = True, application: str = "") -> Connection:
    """Open a session with our settings.

    ``application`` is added to the application name, so that an administrator sees what it is for.

    Raises:
        StoreUnavailable: no answer, or the server is starting or stopping.
        StoreRejected: the password, the database or the role was refused.
    """
    with translating(store):
        conn = psycopg.connect(
            dsn,
            autocommit=autocommit,
            options=session_options(),
            connect_timeout=5,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
        if application:
            conn.execute(
                "SELECT set_config('application_name', 'tenant-lifecycle ' || %s, false)", (application,)
            )
            if not autocommit:
                conn.commit()
        return conn


@contextmanager
def translating(store: str) -> Iterator[None]:
    """Turn what psycopg raises inside the block into our errors, most specific first; the cause is kept."""
    try:
        yield
    except LifecycleError:
        raise
    except psycopg.Error as exc:
        raise translated(exc, store) from exc


def translated(exc: psycopg.Error, store: str) -> LifecycleError:
    """Our error for one of psycopg's."""
    said = str(exc).strip() or type(exc).__name__
    match exc:
        case pg.InvalidPassword() | pg.InvalidAuthorizationSpecification() | pg.InvalidCatalogName():
            return StoreRejected(f"{store}: {said}", store=store, next_step="check the DSN of this store")
        case pg.InsufficientPrivilege():
            return StoreRejected(
                f"{store}: {said}", store=store, next_step="tenantctl doctor names the grants"
            )
        case pg.ReadOnlySqlTransaction():
            return StoreReadOnly(
                f"{store}: the server accepts no writes: {said}",
                store=store,
                next_step="point the DSN at the primary",
            )
        case pg.IdleInTransactionSessionTimeout():
            return StoreUnavailable(f"{store}: {said}", store=store)
        case pg.LockNotAvailable() | pg.QueryCanceled() | pg.DeadlockDetected() | pg.SerializationFailure():
            return StoreBusy(f"{store}: {said}", store=store)
        case pg.DiskFull() | pg.TooManyConnections() | pg.ConfigurationLimitExceeded():
            return StoreRejected(f"{store}: {said}", store=store, next_step="make room on the server")
    if isinstance(exc, psycopg.OperationalError):
        refused = any(word in said for word in ("password", "authentication", "does not exist", "pg_hba"))
        if refused and exc.sqlstate is None:
            return StoreRejected(f"{store}: {said}", store=store, next_step="check the DSN of this store")
        return StoreUnavailable(f"{store}: {said}", store=store, next_step="tenantctl doctor")
    return StoreRejected(f"{store}: {said}", store=store)
