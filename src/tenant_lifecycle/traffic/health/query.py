"""Health by SQL: one row of numbers from each environment's PostgreSQL, read only, values as parameters."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tenant_lifecycle.errors import StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.health import known
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health

#: The columns that count; others are an error, for they would be a number that nobody looks at.
COLUMNS = frozenset({"requests", "errors", "p99_ms", "business"})


@dataclass
class QueryHealth:
    """A query, asked of every environment alike. Safe to use from several threads.

    Its parameters are ``%(tenant)s``, ``%(environment)s`` and ``%(window_s)s``; a literal percent sign is ``%%``.
    """

    name: str
    #: By environment.
    dsns: Mapping[str, str] = field(repr=False)
    sql: str
    timeout_s: float = 2.0
    #: Fields of `Health` that its rows have, also where they are null.
    knows: frozenset[str] = frozenset()
    _connections: dict[str, psycopg.Connection[dict[str, Any]]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        """The row's numbers; without a row nothing is known. See `base.HealthSource.health`."""
        with self._lock:
            row = self._row(environment, {"tenant": tenant, "environment": environment, "window_s": window_s})
        unknown = sorted(row.keys() - COLUMNS)
        if unknown:
            raise self._rejected(
                f"the column {unknown[0]!r} means nothing; known are {', '.join(sorted(COLUMNS))}"
            )
        self.knows = self.knows | row.keys()
        numbers = {name: None if value is None else known(float(value)) for name, value in row.items()}
        return Health(
            requests=round(numbers.get("requests") or 0.0),
            errors=round(numbers.get("errors") or 0.0),
            p99_ms=numbers.get("p99_ms"),
            business=numbers.get("business"),
        )

    def close(self) -> None:
        """Give back connections; safe to repeat."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def _row(self, environment: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            # Each statement is a transaction of its own that can only read, whatever the query says.
            cursor = self._connection(environment).execute(self.sql.encode(), values)
            rows = cursor.fetchmany(2) if cursor.description else []
        except psycopg.errors.QueryCanceled as exc:
            raise StoreUnavailable(
                f"{self.name}: {environment} did not answer within {self.timeout_s:g} s", store=self.name
            ) from exc
        except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
            self._drop(environment)
            raise StoreUnavailable(
                f"{self.name}: {environment} does not answer ({type(exc).__name__})", store=self.name
            ) from exc
        except psycopg.Error as exc:
            raise self._rejected(f"{environment} refuses it ({type(exc).__name__})") from exc
        if len(rows) > 1:
            raise self._rejected("it gives more than one row")
        return rows[0] if rows else {}

    def _connection(self, environment: str) -> psycopg.Connection[dict[str, Any]]:
        connection = self._connections.get(environment)
        if connection is None or connection.closed:
            dsn = self.dsns.get(environment)
            if dsn is None:
                raise self._rejected(f"no PostgreSQL of environment {environment!r} is known")
            connection = psycopg.connect(
                dsn,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=max(2, round(self.timeout_s)),
                application_name="tenant-lifecycle health",
                options=f"-c default_transaction_read_only=on -c statement_timeout={round(self.timeout_s * 1e3)}",
            )
            self._connections[environment] = connection
        return connection

    def _drop(self, environment: str) -> None:
        connection = self._connections.pop(environment, None)
        if connection is not None:
            connection.close()

    def _rejected(self, why: str) -> StoreError:
        return StoreRejected(
            f"{self.name}: {why}",
            store=self.name,
            next_step=f"correct health.{self.name} in lifecycle.yaml",
        )
