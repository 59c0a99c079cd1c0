"""The way into an environment's database for a block: the fence's question, and the journal on a second connection.

Journal connections are our own, made like the application's: one from its pool, asked for while a block holds
another, could wait for ever for blocks that wait likewise.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import tuple_row

from tenant_lifecycle.client.gate import Connection
from tenant_lifecycle.client.outcome import BlockEnded, JournalUnreachable

#: SQLSTATE of `tenant_lifecycle.touch` for a transaction that has ended.
ENDED = "TL004"
_MOST_IDLE = 16
_INSTALLED = (
    "SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
    "WHERE n.nspname = 'tenant_lifecycle' AND p.proname = 'enter'"
)
# A crash that forgets entries shows (the journal's epoch), so nobody has to wait for the disk.
_SOON = "pg_catalog.set_config('synchronous_commit', 'off', true)"


@dataclass(frozen=True, slots=True)
class Entered:
    """What the database said at the beginning of a block."""

    #: 0: the tenant is not managed here.
    epoch: int = 0
    journaling: bool = False
    #: The block's transaction, as text; None unless journaling.
    holder: str | None = None
    feeds: tuple[str, ...] = ()


class Door:
    """One environment's door; safe to share by threads."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self._installed = False
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._how: tuple[str, str] | None = None
        self._closed = False

    def enter(self, conn: Connection, tenant: str) -> Entered:
        """Ask the fence, first thing in a transaction: pass, wait, or be refused with TL001.

        A database without our functions has no managed tenant. That has to be seen in this transaction:
        whoever arms a fence after that waits for it to end.
        """
        with conn.cursor(row_factory=tuple_row) as cursor:
            if not self._installed:
                if cursor.execute(_INSTALLED).fetchone() is None:
                    return Entered()
                self._installed = True
            row = cursor.execute(
                "SELECT epoch, journaling, holder::text, feeds FROM tenant_lifecycle.enter(%s)", (tenant,)
            ).fetchone()
        if row is None:
            return Entered()
        epoch, journaling, holder, feeds = row
        if journaling and not self._idle:
            # Read anew, for passwords change.
            self._how = (conn.info.dsn, conn.info.password)
        return Entered(epoch, journaling, holder, tuple(feeds or ()))

    def touch(self, tenant: str, store: str, keys: Sequence[bytes], holder: str) -> None:
        """Enter keys that the transaction ``holder`` is about to write; on return they are entered for good.

        Raises:
            BlockEnded: the transaction does not run any more.
            JournalUnreachable: no answer; the keys must not be written.
        """
        try:
            self._call(
                f"SELECT {_SOON}, tenant_lifecycle.touch(%s, %s, %s, %s::xid8)",
                (tenant, store, list(keys), holder),
            )
        except psycopg.Error as exc:
            if exc.sqlstate == ENDED:
                raise BlockEnded(
                    f"the transaction of this block of tenant {tenant} has ended in {self.environment}"
                ) from exc
            raise self._unreachable(tenant, exc) from exc

    def hold(self, tenant: str, store: str, keys: Sequence[bytes]) -> None:
        """Keep keys open for the quarantine: a request for them may still be under way.

        Raises:
            JournalUnreachable: no answer.
        """
        try:
            self._call(f"SELECT {_SOON}, tenant_lifecycle.hold(%s, %s, %s)", (tenant, store, list(keys)))
        except psycopg.Error as exc:
            raise self._unreachable(tenant, exc) from exc

    def settle(self, tenant: str, holder: str) -> None:
        """Say that a block which was rolled back has no request under way; best effort.

        Without it, its keys stay open for the quarantine.
        """
        try:
            self._call(f"SELECT {_SOON}, tenant_lifecycle.settle(%s, %s::xid8)", (tenant, holder))
        except psycopg.Error:
            return

    def _unreachable(self, tenant: str, exc: psycopg.Error) -> JournalUnreachable:
        return JournalUnreachable(
            f"{self.environment}: the journal of tenant {tenant} cannot be written: {str(exc).strip()}",
            next_step="repeat the block",
        )

    def _call(self, query: LiteralString, values: Sequence[object]) -> None:
        with self._lock:
            conn = self._idle.pop() if self._idle else None
        if conn is not None:
            try:
                conn.execute(query, values)
            except psycopg.OperationalError as exc:
                conn.close()
                if exc.sqlstate == ENDED:
                    raise
            except BaseException:
                conn.close()
                raise
            else:
                self._give_back(conn)
                return
        # None was open, or it was broken: entering keys twice does no harm.
        conn = self._connect()
        try:
            conn.execute(query, values)
        except BaseException:
            conn.close()
            raise
        self._give_back(conn)

    def _connect(self) -> Connection:
        assert self._how is not None
        dsn, password = self._how
        return psycopg.connect(dsn, password=password or None, autocommit=True, connect_timeout=3)

    def _give_back(self, conn: Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append(conn)
                return
        conn.close()

    def close(self) -> None:
        """End the journal's connections; safe to repeat."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
