"""Tenants' rows: who they are and which environment is their writer."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tables import tenant
from tenant_lifecycle.errors import UnknownTenant
from tenant_lifecycle.model.operation import TenantUpdate
from tenant_lifecycle.model.tenant import Tenant


class Tenants:
    """The tenants known to the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def get(self, tenant_id: str) -> Tenant:
        """One tenant.

        Raises:
            UnknownTenant: there is none with that id.
        """
        with self._db.reading() as conn:
            row = conn.execute(sa.select(tenant).where(tenant.c.id == tenant_id)).one_or_none()
        if row is None:
            raise UnknownTenant(
                f"no tenant {tenant_id!r} in the control database", next_step="tenantctl tenant list"
            )
        return _tenant_of(row)

    def list(
        self, *, environment: str | None = None, state: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Tenant]:
        """Tenants by id, beginning after ``after``."""
        query = sa.select(tenant).where(tenant.c.id > after).order_by(tenant.c.id).limit(limit)
        if environment is not None:
            query = query.where(tenant.c.environment == environment)
        if state is not None:
            query = query.where(tenant.c.state == state)
        with self._db.reading() as conn:
            return [_tenant_of(row) for row in conn.execute(query)]

    def upsert(self, update: TenantUpdate) -> Tenant:
        """Create the tenant, or change what ``update`` gives."""
        with self._db.writing() as conn:
            apply_update(self._db, conn, update)
        return self.get(update.tenant_id)


def apply_update(db: ControlDatabase, conn: Connection, update: TenantUpdate) -> None:
    """Create or change a tenant's row within the caller's transaction."""
    given = {
        name: value
        for name, value in (
            ("display_name", update.display_name),
            ("tier", update.tier),
            ("environment", update.environment),
            ("state", update.state),
        )
        if value is not None
    }
    first = {"display_name": update.tenant_id, "tier": "", "environment": "", "state": "active", **given}
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    conn.execute(
        insert(tenant)
        .values(id=update.tenant_id, created_at=db.clock(), updated_at=db.clock(), **first)
        .on_conflict_do_update(index_elements=[tenant.c.id], set_={**given, "updated_at": db.clock()})
    )


def _tenant_of(row: Row[Any]) -> Tenant:
    return Tenant(**row._mapping)
