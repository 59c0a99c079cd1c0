"""The journal is not written through to the disk, and a crash that may have lost entries shows."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest
from fence_sample import sample
from journal_sample import (
    FEED,
    A,
    entries,
    execute,
)

from tenant_lifecycle.sandbox.postgres import PostgresServer
from tenant_lifecycle.stores.base import FenceState
from tenant_lifecycle.stores.postgres import fence, journal
from tenant_lifecycle.stores.postgres.database import Database


def test_a_crash_changes_the_epoch_and_no_number_comes_twice(tmp_path: Path) -> None:
    """The numbers' own record may be lost in the crash: clients do not wait for the disk."""
    settings = {"fsync": "off", "wal_writer_delay": "10s"}
    with PostgresServer(18, tmp_path / "server", settings=settings) as server:
        database = sample(server.dsn())
        fence.arm(database, A, FenceState.ACTIVE, 1, None)
        journal.open_journal(database, FEED)
        epochs, seqs = [journal.journal_epoch(database)], []
        assert journal.journal_epoch(database) == epochs[0]
        for crash in ("backend", "server", "server", "restart"):
            execute(database, "SELECT set_config('synchronous_commit', 'off', false); " + ENTRY)
            before = [entry.seq for entry in entries(database)]
            seqs += before
            database.close()
            if crash == "backend":
                kill_a_backend(server)
            elif crash == "server":
                server.kill()
                server.start()
            else:
                server.restart()
            database = Database("blue", "blue", server.dsn(), database.map)
            epochs.append(journal.journal_epoch(database))
            assert journal.journal_open(database, FEED), "clients go on entering keys"
            assert crash == "restart" or entries(database) == []
            journal.drop_touched(database, FEED, before)
        assert len(set(epochs)) == len(epochs) and len(set(seqs)) == len(seqs) == 4
        database.close()


ENTRY = "INSERT INTO tenant_lifecycle.touched (feed, store, key) VALUES ('op1_fwd', 'redis', 'k')"


def kill_a_backend(server: PostgresServer) -> None:
    """One backend killed makes the postmaster, which lives on, throw everybody out and recover."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        started = conn.execute("SELECT pg_postmaster_start_time()").fetchone()
        os.kill(conn.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    until = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(server.dsn(), autocommit=True) as conn:
                assert conn.execute("SELECT pg_postmaster_start_time()").fetchone() == started
                return
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.05)
