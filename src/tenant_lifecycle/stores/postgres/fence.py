"""The fence of one tenant in one database: arm it, close it, hand the tenant over, open it, take it away.

Who waits for whom, and why no write is lost, is told in ``fence.sql``, which does the work in the database.
Everything a flip calls is one round trip on a session that is already open.
"""

from __future__ import annotations

from psycopg import errors as pg

from tenant_lifecycle.errors import StoreBusy, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import FenceRow, FenceState
from tenant_lifecycle.stores.postgres import triggers
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.tables import read_tables

#: How long arming keeps asking for locks, seconds.
ARM_BUDGET_S = 20.0


def arm(
    database: Database,
    tenant: TenantId,
    state: FenceState,
    epoch: int,
    target: str | None,
    budget_s: float = ARM_BUDGET_S,
) -> FenceRow:
    """Install the fence on the tenant's tables and its row if there is none; see `base.Fences.arm`.

    Call it again after tables or partitions were added. Safe to run from several drivers at once.

    Raises:
        StoreBusy: a table's lock was not free within the budget; nothing waits on us.
        StoreRejected: the fence could not tell this tenant's rows from others'.
    """
    with database.session() as conn:
        _allow_short_deadlock_checks(conn)
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        triggers.refuse_unfit(conn, database.name, resolved)
        triggers.install_functions(conn, resolved)
        triggers.create(conn, database.name, triggers.guarded(resolved, tables), budget_s)
        # The moment of arming must lie after the row's commit: a transaction that cannot see the row has begun
        # before that moment, and is told from the others by it. Until then, every transaction is older.
        conn.execute(
            "INSERT INTO tenant_lifecycle.fence (tenant, environment, epoch, state, target, armed_at) "
            "VALUES (%s, %s, %s, %s, %s, 'infinity') ON CONFLICT (tenant) DO NOTHING",
            (tenant, database.environment, epoch, state.value, target),
        )
        conn.execute(
            "UPDATE tenant_lifecycle.fence SET armed_at = clock_timestamp() "
            "WHERE tenant = %s AND armed_at = 'infinity'",
            (tenant,),
        )
        row = _row(conn, tenant)
        if row is None:
            raise WrongState(f"{database.name}: tenant {tenant} was disarmed while it was being armed")
        return row


def _allow_short_deadlock_checks(conn: Connection) -> None:
    """An autovacuum gives way to a lock request only after ``deadlock_timeout``; ask sooner if we may."""
    try:
        conn.execute("SET deadlock_timeout = '40ms'")
    except pg.InsufficientPrivilege:
        return


def fence_row(database: Database, tenant: TenantId) -> FenceRow | None:
    """The fence's row now; None if the tenant is not managed here."""
    with database.session() as conn:
        try:
            return _row(conn, tenant)
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            return None


def _row(conn: Connection, tenant: TenantId) -> FenceRow | None:
    found = conn.execute(
        "SELECT state, epoch, environment, target, "
        "extract(epoch FROM greatest(deadline - clock_timestamp(), interval '0'))::float8 "
        "FROM tenant_lifecycle.fence WHERE tenant = %s",
        (tenant,),
        prepare=True,
    ).fetchone()
    if found is None:
        return None
    state, epoch, environment, target, remaining = found
    assert isinstance(epoch, int)
    return FenceRow(
        state=FenceState(str(state)),
        epoch=epoch,
        environment=str(environment),
        target=None if target is None else str(target),
        remaining_s=remaining if isinstance(remaining, float) else None,
    )


def fence(database: Database, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float) -> str:
    """ACTIVE at ``epoch`` -> FENCED: drain writers in flight, hold new ones for at most ``ttl_s``.

    A fence that ran out counts as ACTIVE. Nobody's statement is cancelled. Returns the fencing's ticket.

    Raises:
        StoreBusy: somebody holds the tenant's lock longer than the budget, or a transaction from before the
            arming still runs; the message says who.
        WrongState: the row is not ACTIVE at that epoch.
    """
    return put_up(database, tenant, epoch, ttl_s, budget_s)


def put_up(
    database: Database,
    tenant: TenantId,
    epoch: int,
    ttl_s: float,
    budget_s: float,
    *,
    for_s: float | None = None,
    ticket: str | None = None,
) -> str:
    """FENCED, from ACTIVE or from the window's fencing that ``ticket`` names; for a window of ``for_s`` seconds.

    Raises:
        StoreBusy, WrongState: as `fence`; nothing was changed.
    """
    with database.session() as conn:
        outcome, detail, found = conn.execute(
            "SELECT outcome, detail, ticket::text FROM tenant_lifecycle.fence_tenant(%s, %s, %s, %s, %s, %s)",
            (tenant, epoch, ttl_s, budget_s, for_s, ticket),
            prepare=True,
        ).fetchone() or ("STATE", None, None)
    if outcome == "STATE":
        wanted = f"ACTIVE at epoch {epoch}" if ticket is None else "held by this window any more"
        raise WrongState(
            f"{database.name}: the fence of tenant {tenant} is {detail or 'not managed'}, not {wanted}"
        )
    if outcome != "FENCED":
        raise StoreBusy(
            f"{database.name}: writers of tenant {tenant} were not drained within {budget_s:g} s: "
            f"{detail or 'many short transactions'}",
            store=database.name,
            next_step="it is tried again by itself; end that session if it does not end",
        )
    return str(found)


def renew(
    database: Database, tenant: TenantId, ticket: str, ttl_s: float, for_s: float | None = None
) -> str | None:
    """The same fencing under a later deadline, never beyond its window; None: it is lost, or its row was in use.

    ``for_s``: back to a window of so many seconds, after a flip that was given up.
    """
    with database.session() as conn:
        (found,) = conn.execute(
            "SELECT tenant_lifecycle.renew_fence(%s, %s, %s, %s)::text",
            (tenant, ticket, ttl_s, for_s),
            prepare=True,
        ).fetchone() or (None,)
    return None if found is None else str(found)


def release(database: Database, tenant: TenantId, ticket: str | None) -> None:
    """FENCED by that ticket (None: by any) -> ACTIVE, if it still is; writers go on here.

    Raises:
        StoreBusy: the fence had run out, and writers that passed it keep its row; they go on anyhow.
    """
    with database.session() as conn:
        (released,) = conn.execute(
            "SELECT tenant_lifecycle.release_tenant(%s, %s)", (tenant, ticket), prepare=True
        ).fetchone() or (False,)
    if not released:
        raise StoreBusy(
            f"{database.name}: the fence of tenant {tenant} ran out and its row is in use; writes go on",
            store=database.name,
        )


def commit_move(database: Database, tenant: TenantId, ticket: str, target: str | None) -> bool:
    """The commit point: FENCED by that ticket -> MOVED at the next epoch while the deadline holds.

    Without a target the tenant is closed: nobody is its writer.

    If the answer is lost, `fence_row` tells whether it happened.
    """
    with database.session() as conn:
        (moved,) = conn.execute(
            "SELECT tenant_lifecycle.commit_move(%s, %s, %s)", (tenant, ticket, target), prepare=True
        ).fetchone() or (False,)
    return bool(moved)


def activate(database: Database, tenant: TenantId, epoch: int) -> None:
    """STANDBY or MOVED below ``epoch`` -> ACTIVE at ``epoch``; at ``epoch`` already: does nothing.

    Raises:
        WrongState: the row is anything else.
    """
    with database.session() as conn:
        (seen,) = conn.execute(
            "SELECT tenant_lifecycle.activate(%s, %s)", (tenant, epoch), prepare=True
        ).fetchone() or (None,)
    if seen is not None:
        raise WrongState(
            f"{database.name}: the fence of tenant {tenant} is {seen}; it cannot become ACTIVE at epoch {epoch}"
        )


def disarm(database: Database, tenant: TenantId, *, keep_moved: bool, budget_s: float = ARM_BUDGET_S) -> None:
    """Take the tenant's row away (kept if MOVED and ``keep_moved``), and the triggers with the last tenant.

    Triggers on tables that are this tenant's alone (a schema of its own) go at once.

    Raises:
        StoreBusy: a table's lock was not free within the budget; the row is gone, triggers that stay are
            harmless, and calling again goes on.
    """
    with database.session() as conn:
        try:
            kept = conn.execute(
                "WITH gone AS (DELETE FROM tenant_lifecycle.fence WHERE tenant = %(tenant)s "
                "AND NOT (%(keep)s AND state = 'MOVED') RETURNING tenant) "
                "SELECT count(*) FILTER (WHERE f.tenant = %(tenant)s), count(*) FROM tenant_lifecycle.fence f "
                "WHERE f.tenant NOT IN (SELECT tenant FROM gone)",
                {"tenant": tenant, "keep": keep_moved},
            ).fetchone()
        except (pg.UndefinedTable, pg.InvalidSchemaName):
            return
        mine, all_left = kept or (0, 0)
        schema = database.map.schema_template
        if not all_left:
            triggers.drop(conn, database.name, None, budget_s)
        elif not mine and schema is not None:
            triggers.drop(conn, database.name, schema.replace("{tenant}", tenant), budget_s)


def blockers(database: Database, tenant: TenantId, armed_before_s: float) -> list[str]:
    """What forbids a flip now, one sentence each.

    Transactions older than the arming, transactions of more than ``armed_before_s`` seconds that hold the
    tenant's lock, prepared transactions of this database, tables or partitions without the fence's triggers,
    and not being allowed to see who runs what.
    """
    with database.session() as conn:
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        lacking = triggers.missing(conn, triggers.guarded(resolved, tables))
        found = [str(sentence) for (sentence,) in conn.execute(_BLOCKERS, (tenant, tenant, armed_before_s))]
    return found + [
        f"{one.relation} lacks the trigger {', '.join(names)}: arm the fence again"
        for one, names in lacking.items()
    ]


_BLOCKERS = """
SELECT o FROM tenant_lifecycle.fence f, tenant_lifecycle.older_transactions(f.armed_at) o WHERE f.tenant = %s
UNION ALL SELECT h FROM tenant_lifecycle.holders(%s, %s) h
UNION ALL SELECT format('prepared transaction %%L waits since %%s', p.gid, date_trunc('second', p.prepared))
  FROM pg_prepared_xacts p WHERE p.database = current_database()
UNION ALL SELECT 'this role cannot see other sessions: grant it pg_read_all_stats'
 WHERE NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
"""
