"""Results of restore drills in the control database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tenant_lifecycle.catalog.backup_tables import drill
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.model.backup.drill import DrillResult


class Drills:
    """Every drill that ended, passed or not."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def keep(self, result: DrillResult, envelope: bytes | None) -> None:
        """Note a result; the same drill again changes nothing."""
        values = {
            "id": result.id, "tenant_id": result.tenant_id, "at_us": result.at_us, "ended_at": result.ended_at,
            "rto_s": result.rto_s, "passed": result.passed, "report": result.document(), "envelope": envelope,
        }  # fmt: skip
        with self._db.writing() as conn:
            if conn.execute(sa.select(drill.c.id).where(drill.c.id == result.id)).one_or_none() is None:
                conn.execute(drill.insert().values(**values))

    def reports(self, *, tenant: str | None = None, limit: int = 50) -> list[Mapping[str, Any]]:
        """Reports, newest first."""
        query = sa.select(drill.c.report).order_by(drill.c.ended_at.desc(), drill.c.id).limit(limit)
        if tenant is not None:
            query = query.where(drill.c.tenant_id == tenant)
        with self._db.reading() as conn:
            return [row.report for row in conn.execute(query)]

    def latest(self) -> Mapping[str, Mapping[str, Any]]:
        """The newest report of every tenant that was ever drilled."""
        newest = sa.select(drill.c.tenant_id, sa.func.max(drill.c.ended_at).label("at")).group_by(
            drill.c.tenant_id
        )
        last = newest.subquery()
        query = sa.select(drill.c.tenant_id, drill.c.report).join(
            last, sa.and_(last.c.tenant_id == drill.c.tenant_id, last.c.at == drill.c.ended_at)
        )
        with self._db.reading() as conn:
            return {row.tenant_id: row.report for row in conn.execute(query)}

    def envelope(self, drill_id: str) -> bytes | None:
        """The signed report; None: nobody signed."""
        with self._db.reading() as conn:
            found = conn.execute(sa.select(drill.c.envelope).where(drill.c.id == drill_id)).scalar()
        return None if found is None else bytes(found)
