"""Certificates of erasures, with everything of their bundles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "erasure_certificate",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "request_id", "operation_id", "stage")),
        sa.Column("supersedes", sa.Text),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("salt", "actor_salt")),
        sa.Column("signed_at", sa.Double),
        *(sa.Column(name, sa.LargeBinary) for name in ("envelope", "plan", "inventory", "evidence")),
        sa.Column("proof", sa.Text),
        sa.Column("revoked_at", sa.Double),
        sa.Column("revoked_because", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasure_certificate"),
        sa.ForeignKeyConstraint(
            ["request_id"], ["erasure_request.id"], name="fk_erasure_certificate_erasure_request"
        ),
        sa.UniqueConstraint("operation_id", "stage", name="uq_erasure_certificate_stage"),
    )
    op.create_index("erasure_certificate_by_request", "erasure_certificate", ["request_id", "id"])
