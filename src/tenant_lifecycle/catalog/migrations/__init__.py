"""Brings a control database's tables to the version this code needs."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from tenant_lifecycle.catalog.database import ControlDatabase

#: The newest migration; a test compares it with the folder ``versions``.
HEAD = "0005"
#: Key of the PostgreSQL advisory lock under which one process migrates at a time.
_LOCK = 0x746C_6D69


def current(db: ControlDatabase) -> str | None:
    """The database's version; None when it has no tables of ours."""
    with db.reading() as conn:
        if not sa.inspect(conn).has_table("alembic_version"):
            return None
        return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(db: ControlDatabase, to: str = "head") -> None:
    """Create or renew the tables, in one transaction; safe to repeat and to run from many processes.

    Raises:
        StoreError: the database does not answer or refuses.
    """
    if to == "head" and current(db) == HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with db.writing() as conn:
        if not db.sqlite:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = conn
        command.upgrade(config, to)
