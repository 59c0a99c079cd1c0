"""The first tables: tenants, tokens, operations with their steps, events, signals and work items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TERMINAL = "('aborted', 'failed', 'rolled_back', 'succeeded')"
_ACTIVE = f"state NOT IN {_TERMINAL} AND kind IN ('erase', 'migrate', 'restore')"
_DRIVABLE = "state IN ('aborting', 'queued', 'running', 'waiting')"
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Apply."""
    _tenants()
    _operations()
    _steps()
    _histories()
    _work_items()


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _double(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bigint(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _bool(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _json(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=null)


def _of_operation(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["operation_id"], ["operation.id"], name=f"fk_{table}_operation", ondelete="CASCADE"
    )


def _tenants() -> None:
    op.create_table(
        "tenant_token",
        _text("tenant_id"),
        _bigint("token"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_token"),
    )
    op.create_table(
        "tenant",
        *(_text(name) for name in ("id", "display_name", "tier", "environment", "state")),
        _double("created_at"),
        _double("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_tenant"),
    )


def _operations() -> None:
    op.create_table(
        "operation",
        *(_text(name) for name in ("id", "kind", "definition", "tenant_id")),
        _json("spec"),
        _json("plan"),
        _text("plan_hash", null=True),
        _text("state"),
        _text("desired"),
        _bool("aborting"),
        _text("why"),
        _text("owner", null=True),
        _bigint("token"),
        _double("lease_until"),
        _double("wake_at"),
        _json("wake_signals"),
        _int("stalls"),
        _bigint("rev"),
        _text("reason"),
        _text("requested_by"),
        _text("parent_id", null=True),
        _double("created_at"),
        _double("started_at", null=True),
        _double("finished_at", null=True),
        *(_json(name, null=True) for name in ("result", "error", "cause")),
        sa.PrimaryKeyConstraint("id", name="pk_operation"),
        sa.ForeignKeyConstraint(["parent_id"], ["operation.id"], name="fk_operation_operation"),
        sa.CheckConstraint("desired IN ('run', 'pause', 'abort')", name=op.f("ck_operation_desired")),
    )
    op.create_index(
        "one_active",
        "operation",
        ["tenant_id"],
        unique=True,
        sqlite_where=sa.text(_ACTIVE),
        postgresql_where=sa.text(_ACTIVE),
    )
    op.create_index(
        "ready",
        "operation",
        ["wake_at"],
        sqlite_where=sa.text(_DRIVABLE),
        postgresql_where=sa.text(_DRIVABLE),
    )
    op.create_index("operation_by_tenant", "operation", ["tenant_id", "created_at"])


def _steps() -> None:
    op.create_table(
        "step",
        *(_text(name) for name in ("operation_id", "key", "title")),
        _int("ord"),
        _text("kind"),
        _bool("critical"),
        _text("status"),
        _int("attempt"),
        _int("failures"),
        _bigint("token"),
        _json("cursor", null=True),
        _bigint("done_units", null=True),
        _bigint("total_units", null=True),
        _bool("exact"),
        _json("detail"),
        _json("output", null=True),
        _json("error", null=True),
        _double("first_at"),
        _double("last_at"),
        _double("done_at", null=True),
        _double("next_try_at", null=True),
        sa.PrimaryKeyConstraint("operation_id", "key", name="pk_step"),
        _of_operation("step"),
    )


def _histories() -> None:
    op.create_table(
        "event",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        _text("operation_id"),
        _bigint("token"),
        _double("at"),
        _text("kind"),
        _text("actor"),
        _json("detail"),
        sa.PrimaryKeyConstraint("seq", name="pk_event"),
        _of_operation("event"),
        sqlite_autoincrement=True,
    )
    op.create_index("event_by_operation", "event", ["operation_id", "seq"])
    op.create_table(
        "signal",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        _text("operation_id"),
        _text("kind"),
        _json("payload"),
        _text("actor"),
        _double("at"),
        _bigint("consumed_token", null=True),
        sa.PrimaryKeyConstraint("seq", name="pk_signal"),
        _of_operation("signal"),
        sqlite_autoincrement=True,
    )
    op.create_index("signal_by_operation", "signal", ["operation_id", "seq"])


def _work_items() -> None:
    op.create_table(
        "work_item",
        *(_text(name) for name in ("operation_id", "step", "key")),
        _int("ord"),
        _json("payload"),
        _text("status"),
        _int("attempt"),
        _int("failures"),
        _text("worker", null=True),
        _bigint("token"),
        _double("claimed_until"),
        _double("next_try_at"),
        _json("output", null=True),
        _json("error", null=True),
        sa.PrimaryKeyConstraint("operation_id", "step", "key", name="pk_work_item"),
        _of_operation("work_item"),
    )
    op.create_index("work_item_open", "work_item", ["operation_id", "step", "status", "ord"])
