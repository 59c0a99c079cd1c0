"""Erasures: requests with approvals and history, holds, manifests, what looks found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CLOSED = "('CANCELLED', 'COMPLETED', 'REJECTED')"
_OPEN = f"state NOT IN {_CLOSED}"
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Apply."""
    _requests()
    _holds()
    _manifests()


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _double(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=null)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bigint(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _bytes(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=null)


def _seq() -> sa.Column[int]:
    return sa.Column("seq", _SERIAL, autoincrement=True, nullable=False)


def _of(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=f"fk_{table}_{parent}")


def _requests() -> None:
    op.create_table(
        "erasure_request",
        _text("id"),
        _text("tenant_id"),
        _json("aliases"),
        _json("scope"),
        *(_text(name) for name in ("ground", "ticket", "requested_by")),
        _double("received_at"),
        _text("extended_because"),
        _text("notice"),
        _double("extended_at", null=True),
        _text("state"),
        _bigint("version"),
        _text("why"),
        _json("plan", null=True),
        _text("plan_digest", null=True),
        _double("planned_at", null=True),
        _double("cooling_until", null=True),
        _text("operation_id", null=True),
        _json("out_of_scope"),
        sa.PrimaryKeyConstraint("id", name="pk_erasure_request"),
    )
    op.create_index(
        "one_open_request",
        "erasure_request",
        ["tenant_id"],
        unique=True,
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.create_table(
        "erasure_event",
        _seq(),
        _text("request_id"),
        _double("at"),
        _text("kind"),
        _text("actor"),
        _json("detail"),
        sa.PrimaryKeyConstraint("seq", name="pk_erasure_event"),
        _of("erasure_event", "request_id", "erasure_request"),
        sqlite_autoincrement=True,
    )
    op.create_index("erasure_event_by_request", "erasure_event", ["request_id", "seq"])
    op.create_table(
        "erasure_approval",
        *(_text(name) for name in ("request_id", "plan_digest", "by")),
        _double("at"),
        _text("reason"),
        sa.PrimaryKeyConstraint("request_id", "plan_digest", "by", "at", name="pk_erasure_approval"),
        _of("erasure_approval", "request_id", "erasure_request"),
    )


def _holds() -> None:
    op.create_table(
        "hold",
        *(_text(name) for name in ("id", "matter", "ground")),
        *(_json(name) for name in ("names", "systems", "sets")),
        _double("review_at", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_hold"),
    )
    op.create_table(
        "hold_event",
        _seq(),
        *(_text(name) for name in ("hold_id", "act", "by")),
        _double("at"),
        _text("reason"),
        _double("delay_s"),
        sa.PrimaryKeyConstraint("seq", name="pk_hold_event"),
        _of("hold_event", "hold_id", "hold"),
        sqlite_autoincrement=True,
    )
    op.create_index("hold_event_by_hold", "hold_event", ["hold_id", "seq"])
    op.create_table(
        "erasure_in_flight",
        _text("operation_id"),
        _bigint("token"),
        _json("names"),
        _double("since"),
        sa.PrimaryKeyConstraint("operation_id", name="pk_erasure_in_flight"),
    )


def _manifests() -> None:
    op.create_table(
        "erasure_batch",
        _text("operation_id"),
        _int("round"),
        _text("system"),
        _int("number"),
        _text("set_name"),
        _text("method"),
        _bigint("items"),
        _bigint("bytes"),
        _text("digest"),
        _bytes("content", null=True),
        _double("erased_at", null=True),
        _bigint("deleted"),
        _bigint("gone"),
        _json("refused"),
        sa.PrimaryKeyConstraint("operation_id", "round", "system", "number", name="pk_erasure_batch"),
    )
    op.create_table(
        "erasure_key",
        _text("operation_id"),
        _bytes("key"),
        sa.PrimaryKeyConstraint("operation_id", name="pk_erasure_key"),
    )
    op.create_table(
        "erasure_residue",
        *(_text(name) for name in ("operation_id", "look", "system")),
        _bytes("content"),
        sa.PrimaryKeyConstraint("operation_id", "look", "system", name="pk_erasure_residue"),
    )
