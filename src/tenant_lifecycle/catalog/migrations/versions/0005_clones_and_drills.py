"""Clones with their owners and ends, and the results of restore drills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVING = "state IN ('building', 'deleting', 'exposed')"


def upgrade() -> None:
    """Apply."""
    texts = ("tenant_id", "environment", "mode", "owner", "purpose", "state")
    op.create_table(
        "clone",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "source")),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "expires_at")),
        sa.Column("report", sa.JSON(none_as_null=True)),
        sa.Column("envelope", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_clone"),
    )
    op.create_index(
        "one_living_clone",
        "clone",
        ["tenant_id", "environment"],
        unique=True,
        sqlite_where=sa.text(_LIVING),
        postgresql_where=sa.text(_LIVING),
    )
    op.create_table(
        "drill",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "tenant_id")),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("ended_at", "rto_s")),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("envelope", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_drill"),
    )
    op.create_index("drill_by_tenant", "drill", ["tenant_id", "ended_at"])
