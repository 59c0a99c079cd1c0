"""Sessions of DuckDB, and the driver's errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from tenant_lifecycle.errors import LifecycleError, StoreBusy, StoreRejected, StoreUnavailable

Session = duckdb.DuckDBPyConnection


@contextmanager
def session(store: str, path: str = ":memory:", *, read_only: bool = False) -> Iterator[Session]:
    """A session of the caller's own, closed at the end; it can neither load extensions nor reach the network.

    Raises:
        StoreBusy: another process has the file open.
    """
    with translating(store):
        conn = duckdb.connect(path, read_only=read_only)
        try:
            conn.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
            conn.execute("SET memory_limit = '512MB'; SET threads = 2; SET enable_progress_bar = false")
            yield conn
        finally:
            conn.close()


@contextmanager
def translating(store: str) -> Iterator[None]:
    """Turn what duckdb raises inside the block into our errors; the cause is kept."""
    try:
        yield
    except LifecycleError:
        raise
    except duckdb.Error as exc:
        raise _translated(exc, store) from exc
    except OSError as exc:
        raise StoreUnavailable(f"{store}: {exc.strerror}", store=store, next_step="tenantctl doctor") from exc


def _translated(exc: duckdb.Error, store: str) -> LifecycleError:
    said = str(exc).splitlines()[0]
    if isinstance(exc, duckdb.IOException) and "lock" in said:
        return StoreBusy(
            f"{store}: another process has the file open",
            store=store,
            next_step="stop the application that holds it; only one process can write a DuckDB file",
        )
    if isinstance(exc, duckdb.TransactionException):
        return StoreBusy(f"{store}: {said}", store=store)
    return StoreRejected(f"{store}: {said}", store=store)


def fetch(conn: Session, query: str, parameters: object = None) -> list[tuple[object, ...]]:
    """Run a query and return all rows."""
    return conn.execute(query, parameters).fetchall()
