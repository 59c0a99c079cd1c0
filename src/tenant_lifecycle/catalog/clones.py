"""The register of clones in the control database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from tenant_lifecycle.catalog.backup_tables import clone
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.errors import TargetOccupied, UnknownTenant
from tenant_lifecycle.model.backup.clone import LIVING, Clone, CloneState
from tenant_lifecycle.model.names import TenantId


class Clones:
    """Every clone that was ever begun."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def enter(self, new: Clone) -> Clone:
        """Note a clone that is begun; the same again changes nothing.

        Raises:
            TargetOccupied: a clone of that name is in the environment.
        """
        values = {**asdict(new), "state": new.state.value}
        try:
            with self._db.writing() as conn:
                if conn.execute(sa.select(clone.c.id).where(clone.c.id == new.id)).one_or_none() is None:
                    conn.execute(clone.insert().values(**values))
        except IntegrityError as error:
            raise TargetOccupied(
                f"{new.environment} has a clone {new.tenant_id!r} already",
                next_step=f"tenantctl clone refresh {new.tenant_id}, or clone delete it, or choose another --as",
            ) from error
        return self.get(new.id)

    def get(self, clone_id: str) -> Clone:
        """By its id."""
        with self._db.reading() as conn:
            row = conn.execute(sa.select(clone).where(clone.c.id == clone_id)).one_or_none()
        if row is None:
            raise UnknownTenant(f"no clone {clone_id}", next_step="tenantctl clone list")
        return _clone_of(row)

    def find(self, text: str) -> Clone:
        """By its id or the beginning of one, or the newest with that tenant id.

        Raises:
            UnknownTenant: there is none.
        """
        which = sa.or_(clone.c.id.startswith(text, autoescape=True), clone.c.tenant_id == text)
        with self._db.reading() as conn:
            rows = conn.execute(sa.select(clone).where(which).order_by(clone.c.created_at.desc())).all()
        found = [_clone_of(row) for row in rows]
        living = [one for one in found if one.state in LIVING]
        if not found:
            raise UnknownTenant(f"no clone {text!r}", next_step="tenantctl clone list")
        return (living or found)[0]

    def list(self, *, every: bool = False, source: str | None = None) -> list[Clone]:
        """Clones that are there, or all that ever were; oldest first."""
        query = sa.select(clone).order_by(clone.c.created_at, clone.c.id)
        if not every:
            query = query.where(clone.c.state.in_(sorted(LIVING)))
        if source is not None:
            query = query.where(clone.c.source == source)
        with self._db.reading() as conn:
            return [_clone_of(row) for row in conn.execute(query)]

    def move(self, clone_id: str, state: CloneState) -> None:
        """Note what became of it."""
        self._update(clone_id, {"state": state.value})

    def judged(self, clone_id: str, report: Mapping[str, Any], envelope: bytes | None) -> None:
        """Keep what the gate found."""
        self._update(clone_id, {"report": dict(report), "envelope": envelope})

    def keep_until(self, clone_id: str, at_us: int, expires_at: float) -> None:
        """A refreshed clone: of another moment, and for longer."""
        self._update(clone_id, {"at_us": at_us, "expires_at": expires_at})

    def envelope(self, clone_id: str) -> bytes | None:
        """The signed report; None: nobody signed."""
        with self._db.reading() as conn:
            found = conn.execute(sa.select(clone.c.envelope).where(clone.c.id == clone_id)).scalar()
        return None if found is None else bytes(found)

    def _update(self, clone_id: str, values: Mapping[str, Any]) -> None:
        with self._db.writing() as conn:
            conn.execute(clone.update().where(clone.c.id == clone_id).values(**values))


def _clone_of(row: Row[Any]) -> Clone:
    found = dict(row._mapping)
    found.pop("envelope")
    return Clone(
        **{
            **found,
            "source": TenantId(row.source),
            "tenant_id": TenantId(row.tenant_id),
            "state": CloneState(row.state),
        }
    )
