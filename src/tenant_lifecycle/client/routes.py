"""Hearing of a changed writer at once, instead of learning it from the refusal of the next write."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import psycopg
from psycopg.rows import tuple_row

from tenant_lifecycle.client.gate import Connection, NeverBegun, WriterGate

CHANNEL = "tenant_lifecycle.routes"
#: How soon `close` is noticed, and how long to wait before connecting again, seconds.
_LOOK_S, _PAUSE_S = 0.5, 1.0


class RouteListener:
    """A thread for one environment: forgets what is known of a tenant when its database says so."""

    def __init__(self, gate: WriterGate, environment: str, heard: Callable[[], None]) -> None:
        self._gate = gate
        self._environment = environment
        self._heard = heard
        self._stopping = threading.Event()
        #: Set while it listens.
        self.listening = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"tenant-lifecycle-routes-{environment}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_LOOK_S * 4)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with (
                contextlib.suppress(psycopg.Error, NeverBegun),
                self._gate.connection(self._environment) as conn,
            ):
                self._listen(conn)
            self.listening.clear()
            self._stopping.wait(_PAUSE_S)

    def _listen(self, conn: Connection) -> None:
        conn.execute(f'LISTEN "{CHANNEL}"')
        self._commit(conn)
        # Whatever happened before is not heard: what is known may be old.
        self._gate.forget_all()
        self.listening.set()
        try:
            while not self._stopping.is_set():
                keys = {note.payload for note in conn.notifies(timeout=_LOOK_S, stop_after=1)}
                if keys:
                    self._forget(conn, keys)
        finally:
            # The connection may be one of a pool's.
            with contextlib.suppress(psycopg.Error):
                conn.execute(f'UNLISTEN "{CHANNEL}"')
                self._commit(conn)

    def _forget(self, conn: Connection, keys: set[str]) -> None:
        """Notes carry lock keys, not ids: the database says which of the tenants we know are meant."""
        with conn.cursor(row_factory=tuple_row) as cursor:
            meant = cursor.execute(
                "SELECT t FROM pg_catalog.unnest(%s::text[]) t WHERE tenant_lifecycle.lock_key(t)::text = ANY (%s)",
                (self._gate.known(), list(keys)),
            ).fetchall()
        self._commit(conn)
        for (tenant,) in meant:
            self._gate.forget(tenant)
            self._heard()

    @staticmethod
    def _commit(conn: Connection) -> None:
        """A pool's connection may not be in autocommit, and notes come between transactions only."""
        if not conn.autocommit:
            conn.commit()
