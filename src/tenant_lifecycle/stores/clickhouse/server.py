"""One ClickHouse server: how to ask it, quietly, and the driver's errors in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from tenant_lifecycle.errors import LifecycleError, StoreRejected, StoreUnavailable

#: Statements of ours are not kept by the server's own log: their parameters name the tenant.
QUIET = {"log_queries": 0}
#: Mutations are over when the statement returns, on every replica.
WAITING = {"mutations_sync": 2, "alter_sync": 2}
#: Rows that a lightweight delete only hid are seen.
UNMASKED = {"apply_deleted_mask": 0}


@dataclass
class Server:
    """Safe to use from several threads: every session is opened for one piece of work."""

    #: For people: ``blue/events``.
    name: str
    url: str = field(repr=False)
    database: str
    user: str = "default"
    password: str = field(default="", repr=False)

    @contextmanager
    def session(self) -> Iterator[Client]:
        """A client of the caller's own, closed at the end; the driver's errors become ours."""
        where = urlsplit(self.url)
        try:
            client = clickhouse_connect.get_client(
                host=where.hostname or "",
                port=where.port or (8443 if where.scheme == "https" else 8123),
                interface=where.scheme,
                username=self.user,
                password=self.password,
                compress=False,
                autogenerate_session_id=False,
                settings=QUIET,
                connect_timeout=5,
            )
            try:
                yield client
            finally:
                client.close()
        except LifecycleError:
            raise
        except ClickHouseError as exc:
            raise _translated(exc, self.name) from exc


def _translated(exc: ClickHouseError, store: str) -> LifecycleError:
    if isinstance(exc, OperationalError) or not isinstance(exc, DatabaseError):
        return StoreUnavailable(f"{store}: no answer", store=store, next_step="tenantctl doctor")
    said = str(exc).splitlines()[0][:300] if str(exc) else type(exc).__name__
    return StoreRejected(f"{store}: {said}", store=store, next_step="tenantctl doctor")


def rows(
    client: Client,
    query: str,
    parameters: Mapping[str, object] | None = None,
    settings: Mapping[str, int] | None = None,
) -> Sequence[Sequence[object]]:
    """All rows of a query; parameters are bound by the server."""
    answer = client.query(query, parameters=dict(parameters or {}), settings=dict(settings or {}))
    return [tuple(row) for row in answer.result_rows]


def name(text: str) -> str:
    """A quoted identifier."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A quoted string, where no parameter may stand."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(table: str) -> str:
    """``database.table``, quoted."""
    database, _, short = table.partition(".")
    return f"{name(database)}.{name(short)}"
