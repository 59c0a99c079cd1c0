"""The journal of touched keys: what applications said they would write in the stores beside this database.

An application's client enters a key, committed, before it writes it, from within a block that holds the
tenant's lock. So the journal is complete once two things are true: every block that runs knows that the journal
is open, and every block has ended. `open_journal` waits for the first, the fence for the second. How the
database decides is told in ``journal.sql``.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from importlib.resources import files

import psycopg
from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.errors import Fenced, LifecycleError, StoreBusy, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed, Touch
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database

#: How long opening waits for transactions from before, seconds.
OPEN_BUDGET_S = 10.0
#: How soon an open entry is looked at again: nobody tells when it closes.
_POLL_S = 0.01
_NOT_INSTALLED = (pg.UndefinedTable, pg.UndefinedFunction, pg.InvalidSchemaName)


def install(conn: Connection) -> None:
    """Create the journal's tables and functions; after ``fence.sql``, in the caller's transaction."""
    conn.execute(files(__package__).joinpath("journal.sql").read_bytes())


def open_journal(database: Database, feed: Feed, budget_s: float = OPEN_BUDGET_S) -> None:
    """Have clients enter keys from now on; returns when no transaction runs that does not. Idempotent.

    Raises:
        StoreBusy: a block or a transaction from before did not end within the budget; says who. New blocks
            enter their keys already: calling again goes on waiting.
        WrongState: the tenant's fence is not armed here, so that nobody asks before writing.
        Fenced: a newer driver token was seen.
    """
    give_up = time.monotonic() + budget_s
    with database.session() as conn:
        _announce(conn, database.name, feed)
        if _is_open(conn, feed):
            return
        _wait_for_blocks(conn, database.name, feed, give_up)
        _wait_for_older(conn, database.name, feed, give_up)
        conn.execute(
            "UPDATE tenant_lifecycle.journaled SET drained_at = clock_timestamp() WHERE feed = %s",
            (feed.name,),
        )


def _announce(conn: Connection, store: str, feed: Feed) -> None:
    try:
        (outcome,) = conn.execute(
            "SELECT tenant_lifecycle.announce(%s, %s, %s)", (feed.tenant, feed.name, feed.token)
        ).fetchone() or ("BUSY",)
    except _NOT_INSTALLED:
        outcome = "UNMANAGED"
    match outcome:
        case "UNMANAGED":
            raise WrongState(
                f"{store}: the fence of tenant {feed.tenant} is not armed, so applications do not ask here "
                "before they write",
                next_step="arm the fence first",
            )
        case "FENCED":
            raise Fenced(f"a newer driver than token {feed.token} keeps the journal of feed {feed.name}")
        case "BUSY":
            raise StoreBusy(
                f"{store}: transactions above READ COMMITTED keep the fence's row of tenant {feed.tenant}",
                store=store,
                next_step="it is tried again by itself",
            )


def _wait_for_blocks(conn: Connection, store: str, feed: Feed, give_up: float) -> None:
    (drained,) = conn.execute(
        "SELECT tenant_lifecycle.drained(%s, %s)", (feed.tenant, max(give_up - time.monotonic(), 0.0))
    ).fetchone() or (False,)
    if not drained:
        who = conn.execute("SELECT tenant_lifecycle.holders(%s, 0)", (feed.tenant,)).fetchall()
        raise _busy(store, feed, [str(one) for (one,) in who] or ["many short transactions"])


def _wait_for_older(conn: Connection, store: str, feed: Feed, give_up: float) -> None:
    """Transactions that cannot see the fence's row take no lock; they began before it was armed."""
    while True:
        who = conn.execute(
            "SELECT o FROM tenant_lifecycle.fence f, tenant_lifecycle.older_transactions(f.armed_at) o "
            "WHERE f.tenant = %s",
            (feed.tenant,),
        ).fetchall()
        if not who:
            return
        if time.monotonic() >= give_up:
            raise _busy(store, feed, [str(one) for (one,) in who])
        time.sleep(0.05)


def _busy(store: str, feed: Feed, who: list[str]) -> StoreBusy:
    return StoreBusy(
        f"{store}: transactions from before the journal of tenant {feed.tenant} was opened still run: "
        + "; ".join(who),
        store=store,
        next_step="it is tried again by itself; end that session if it does not end",
    )


def close_journal(database: Database, feed: Feed) -> None:
    """Forget the feed and its entries; with the last feed of a tenant clients stop entering. Idempotent.

    Raises:
        Fenced: a newer driver token was seen.
    """
    with database.session() as conn, suppress(*_NOT_INSTALLED):
        (newer,) = conn.execute(
            "WITH gone AS (DELETE FROM tenant_lifecycle.journaled WHERE feed = %(feed)s "
            "AND token <= %(token)s RETURNING feed) "
            "SELECT EXISTS (SELECT FROM tenant_lifecycle.journaled WHERE feed = %(feed)s "
            "AND feed NOT IN (SELECT feed FROM gone))",
            {"feed": feed.name, "token": feed.token},
        ).fetchone() or (False,)
        if newer:
            raise Fenced(f"a newer driver than token {feed.token} keeps the journal of feed {feed.name}")
        conn.execute("DELETE FROM tenant_lifecycle.touched WHERE feed = %s", (feed.name,))


def journal_open(database: Database, feed: Feed) -> bool:
    """Whether every block enters its keys for the feed."""
    with database.session() as conn:
        try:
            return _is_open(conn, feed)
        except _NOT_INSTALLED:
            return False


def _is_open(conn: Connection, feed: Feed) -> bool:
    """A fence that was taken away and armed anew let blocks pass in between: not open."""
    row = conn.execute(
        "SELECT j.drained_at >= f.armed_at FROM tenant_lifecycle.journaled j "
        "JOIN tenant_lifecycle.fence f ON f.tenant = j.tenant WHERE j.feed = %s AND j.tenant = %s",
        (feed.name, feed.tenant),
        prepare=True,
    ).fetchone()
    return row is not None and row[0] is True


def touched(database: Database, feed: Feed, store: str, limit: int) -> list[Touch]:
    """The oldest entries of one store (its name inside the environment) that were not dropped."""
    with database.session() as conn:
        rows = conn.execute(
            "SELECT seq, key, open, age_s FROM tenant_lifecycle.read_touched(%s, %s, %s)",
            (feed.name, store, limit),
            prepare=True,
            binary=True,
        ).fetchall()
    return [Touch(seq, key, open_, age_s) for seq, key, open_, age_s in rows]  # type: ignore[arg-type]


def drop_touched(database: Database, feed: Feed, seqs: list[int]) -> None:
    """Forget entries that were carried over.

    Raises:
        Fenced: a newer driver token was seen, or the journal was closed.
    """
    if not seqs:
        return
    with database.session() as conn:
        (done,) = conn.execute(
            "SELECT tenant_lifecycle.drop_touched(%s, %s, %s)", (feed.name, feed.token, seqs), prepare=True
        ).fetchone() or (False,)
    if not done:
        raise Fenced(
            f"the journal of feed {feed.name} was closed, or a newer driver than {feed.token} keeps it"
        )


def touch(database: Database, feed: Feed, store: str, keys: list[bytes]) -> None:
    """Enter keys ourselves, for this feed; they are never open. Does nothing if the journal is closed."""
    with database.session() as conn, conn.transaction():
        conn.execute(
            "INSERT INTO tenant_lifecycle.touched (feed, store, key) SELECT j.feed, %s, k.key "
            "FROM tenant_lifecycle.journaled j, unnest(%s::bytea[]) k(key) WHERE j.feed = %s",
            (store, keys, feed.name),
        )
        conn.execute("SELECT pg_notify(tenant_lifecycle.touched_channel(%s), '')", (feed.tenant,))


def journal_epoch(database: Database) -> str:
    """Changes when entries may have been lost: a crash (also of one backend), a restart, a failover."""
    with database.session() as conn:
        conn.execute("INSERT INTO tenant_lifecycle.journal_life DEFAULT VALUES ON CONFLICT DO NOTHING")
        row = conn.execute(
            "SELECT format('%s/%s', life, extract(epoch FROM pg_postmaster_start_time())) "
            "FROM tenant_lifecycle.journal_life"
        ).fetchone()
    if row is None:
        raise WrongState(f"{database.name}: the journal's life was removed while it was read")
    return str(row[0])


class _Seen(threading.local):
    """What one thread knew when it read the journal last."""

    generation: int = 0
    some_open: bool = False


class Listener:
    """Hears of new entries through one session, made on first use and made anew when it broke.

    Any number of threads may wait, each for what came after its own last reading: one of them listens, and
    wakes the others.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Condition()
        self._generation = 1
        self._taken = False
        self._seen = _Seen()
        self._wanted: set[TenantId] = set()
        self._listening: set[TenantId] = set()
        self._conn: Connection | None = None
        self._closed = False

    def reading(self, tenant: TenantId) -> None:
        """This thread is about to read the tenant's entries: whatever is entered from now on wakes it."""
        self._wanted.add(tenant)
        with self._turn:
            self._seen.generation = self._generation

    def saw(self, entries: list[Touch]) -> None:
        """Entries that were just read: open ones are polled, for nobody tells when they close."""
        self._seen.some_open = any(entry.open for entry in entries)

    def wait(self, timeout_s: float) -> None:
        """Return when something was entered or may have been closed, or the time is over.

        A database that cannot be reached makes it a plain sleep.
        """
        if self._seen.some_open:
            timeout_s = min(timeout_s, _POLL_S)
        until = time.monotonic() + timeout_s
        with self._turn:
            while self._taken and self._seen.generation == self._generation:
                if not self._turn.wait(max(until - time.monotonic(), 0.0)):
                    return
            if self._seen.generation != self._generation or self._closed:
                self._seen.generation = self._generation
                return
            self._taken = True
        heard = False
        try:
            heard = self._listen_until(until)
        finally:
            with self._turn:
                self._taken = False
                self._generation += heard
                self._seen.generation = self._generation
                self._turn.notify_all()

    def _listen_until(self, until: float) -> bool:
        """Whether something was heard, or may have been missed."""
        try:
            with translating(self._database.name):
                if self._conn is None:
                    self._conn = self._database.connect("journal")
                    self._listening = set()
                missing = set(self._wanted) - self._listening
                for tenant in missing:
                    self._listen(self._conn, tenant)
                if missing:
                    return True  # something may have been entered before we listened
                left_s = max(until - time.monotonic(), 0.0)
                return any(True for _ in self._conn.notifies(timeout=left_s, stop_after=1))
        except (LifecycleError, psycopg.Error):
            if self._conn is not None:
                self._drop()
                return True
            time.sleep(max(until - time.monotonic(), 0.0))
            return False

    def _listen(self, conn: Connection, tenant: TenantId) -> None:
        (channel,) = conn.execute("SELECT tenant_lifecycle.touched_channel(%s)", (tenant,)).fetchone() or (
            "",
        )
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(str(channel))))
        self._listening.add(tenant)

    def _drop(self) -> None:
        if self._conn is not None:
            with suppress(Exception):
                self._conn.close()
            self._conn = None

    def close(self) -> None:
        """End the session, after whoever listens just now; safe to repeat."""
        with self._turn:
            self._closed = True
            self._turn.wait_for(lambda: not self._taken, timeout=5.0)
            self._drop()
