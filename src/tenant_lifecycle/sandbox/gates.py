"""A minimal writer gate, until `tenant_lifecycle.client.gate` is here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")
Connection = psycopg.Connection[Any]


class UnknownOutcome(Exception):
    """The connection broke in a COMMIT."""


class WriterGate:
    """Runs blocks where the tenant's writer is; one connection per thread and environment."""

    def __init__(self, environments: Mapping[str, str], default: str) -> None:
        self._environments = environments
        self._default = default
        self._local = threading.local()
        self._writer: dict[str, str] = {}

    def run(self, tenant: str, block: Callable[[Connection], T], deadline_s: float = 10) -> T:
        """Run ``block`` in one transaction at the writer and commit it."""
        end = time.monotonic() + deadline_s
        while True:
            committing = False
            try:
                conn = self._connection(self._writer.get(tenant) or self._resolve(tenant))
                conn.execute("BEGIN")
                result = block(conn)
                committing = True
                conn.execute("COMMIT")
                return result
            except psycopg.Error as exc:
                if committing and isinstance(exc, psycopg.OperationalError) and exc.sqlstate is None:
                    self._writer.pop(tenant, None)
                    raise UnknownOutcome(str(exc)) from exc
                if not conn.closed:
                    conn.rollback()
                retry = isinstance(exc, psycopg.OperationalError) or exc.sqlstate in (
                    "TL001",
                    "40001",
                    "40P01",
                )
                if not retry or time.monotonic() > end:
                    raise
                self._writer.pop(tenant, None)
                time.sleep(0.002)

    def _resolve(self, tenant: str) -> str:
        found = self._default
        for environment in self._environments:
            conn = self._connection(environment)
            present = conn.execute("SELECT to_regclass('tenant_lifecycle.fence')").fetchone()
            if present and present[0]:
                row = conn.execute(
                    "SELECT state FROM tenant_lifecycle.fence WHERE tenant = %s AND state IN ('ACTIVE', 'FENCED')",
                    (tenant,),
                ).fetchone()
                found = environment if row else found
        self._writer[tenant] = found
        return found

    def _connection(self, environment: str) -> Connection:
        conns: dict[str, Connection] = self._local.__dict__
        conn = conns.get(environment)
        if conn is None or conn.closed:
            conn = conns[environment] = psycopg.connect(self._environments[environment], autocommit=True)
        return conn
