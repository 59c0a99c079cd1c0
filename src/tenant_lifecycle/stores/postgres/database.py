"""One database of one environment: how to reach it, and whose rows are whose in it.

Every story of this store (copy, feed, fence, digests ...) is a module of its own whose functions take a
`Database`; the store class only joins them.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap, ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection, connect, translating
from tenant_lifecycle.stores.postgres.tables import Table, read_tables


@dataclass
class Database:
    """Where a tenant's rows are; safe to use from several threads."""

    #: For people and errors: ``blue/postgres``.
    name: str
    environment: str
    dsn: str
    map: OwnershipMap = field(default_factory=OwnershipMap)
    _idle: list[Connection] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: bool = field(default=False, repr=False)

    def connect(self, application: str = "") -> Connection:
        """A new autocommit session of the caller's own, which the caller closes."""
        return connect(self.dsn, self.name, application=application)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Borrow an autocommit session for short work; the driver's errors become ours.

        Sessions are kept open between uses, because a flip has no time to connect. One that was left in a
        transaction or broke is closed, not reused.
        """
        conn = self._borrow() or self.connect()
        try:
            with translating(self.name):
                yield conn
        finally:
            self._give_back(conn)

    def _borrow(self) -> Connection | None:
        """An idle session whose wire still stands, as far as can be seen without a round trip; else None."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                conn = self._idle.pop()
            # Nothing is due on an idle session: what can be read is the server's good-bye, or a reset.
            if not conn.closed and not select.select([conn.fileno()], [], [], 0)[0]:
                return conn
            conn.close()

    def _give_back(self, conn: Connection) -> None:
        clean = not conn.closed and conn.info.transaction_status.name == "IDLE"
        with self._lock:
            if clean and not self._closed and len(self._idle) < 8:
                self._idle.append(conn)
                return
        conn.close()

    def tables(self) -> Mapping[TableName, Table]:
        """The live catalogue, read now."""
        with self.session() as conn:
            return read_tables(conn)

    def resolve(self, tenant: TenantId) -> ResolvedMap:
        """The ownership map applied to the tables that exist now."""
        return self.map.resolve(tenant, frozenset(self.tables()))

    def close(self) -> None:
        """Close idle sessions; later ones are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
