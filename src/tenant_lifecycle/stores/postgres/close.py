"""The tombstone: one tenant's writes are refused here for good, by the same fence that a flip uses.

A tombstone is a fence row that is MOVED to nobody. Where the tenant's writes are refused already (its writer is
another environment) nothing is changed: latecomers are still told where to go.
"""

from __future__ import annotations

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import FenceRow, FenceState
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.postgres import fence, ours
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database

#: The lane of an erasure in ``tenant_lifecycle.applied``; its row carries the token and names no tenant.
LANE = "erase"
_TTL_S, _BUDGET_S = 5.0, 3.0


def writer_of(erasing: Erasing) -> ours.Writer:
    """An erasure writes as ours, in a row that does not name whom it is about."""
    return ours.Writer(erasing.name, TenantId(""), erasing.token)


def take_over(conn: Connection, erasing: Erasing) -> ours.Writer:
    """Make this driver the one that may write; installs what is missing.

    Raises:
        Fenced: a newer driver was here.
    """
    if conn.execute("SELECT to_regclass('tenant_lifecycle.planted')").fetchone() == (None,):
        ours.install(conn)
    ours.register_lane(conn, writer_of(erasing), LANE)
    return writer_of(erasing)


def close_writes(database: Database, erasing: Erasing) -> None:
    """Refuse every write of the tenant from now on; those in flight are over when this returns.

    Raises:
        StoreBusy: writers in flight did not end in time, or a lock was not free; nothing is refused yet.
        Fenced: a newer driver was here.
    """
    with database.session() as conn:
        take_over(conn, erasing)
    row = fence.arm(database, erasing.tenant, FenceState.ACTIVE, 1, None)
    if _refuses(row):
        return
    ticket = fence.fence(database, erasing.tenant, row.epoch, _TTL_S, _BUDGET_S)
    if not fence.commit_move(database, erasing.tenant, ticket, None):
        raise StoreBusy(
            f"{database.name}: the fence ran out before the tenant was closed; its writes go on",
            store=database.name,
            next_step="it is tried again by itself",
        )


def reopen(database: Database, erasing: Erasing) -> None:
    """Take the tombstone back, at the next epoch; without one nothing is changed."""
    with database.session() as conn:
        take_over(conn, erasing)
    row = fence.fence_row(database, erasing.tenant)
    if row is not None and is_tombstone(row):
        fence.activate(database, erasing.tenant, row.epoch + 1)


def closed(database: Database, tenant: TenantId) -> bool:
    """Whether the tenant's writes are refused now."""
    row = fence.fence_row(database, tenant)
    return row is not None and _refuses(row)


def forget(database: Database, erasing: Erasing) -> None:
    """Remove the tombstone and what names this erasure; a fence that is no tombstone stays."""
    with database.session() as conn:
        take_over(conn, erasing)
    row = fence.fence_row(database, erasing.tenant)
    if row is not None and is_tombstone(row):
        fence.disarm(database, erasing.tenant, keep_moved=False)
    with database.session() as conn:
        conn.execute("DELETE FROM tenant_lifecycle.applied WHERE feed = %s", (erasing.name,))


def is_tombstone(row: FenceRow) -> bool:
    """MOVED, and to nobody."""
    return row.state is FenceState.MOVED and row.target is None


def _refuses(row: FenceRow) -> bool:
    return row.state in (FenceState.MOVED, FenceState.STANDBY)
