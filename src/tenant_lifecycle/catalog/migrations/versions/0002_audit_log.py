"""The audit log: entries, the row on which writers take turns, signed heads; changes are refused by triggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: ``prev`` of the first entry, and the last leaf of an empty log.
_NOTHING = "0" * 64
#: Columns of an entry that nothing may ever change.
_KEPT = ("seq", "leaf", "nodes", "operation_id", "stream", "after")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("leaf", sa.Text, nullable=False),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("stream", sa.BigInteger, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("opening", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entry"),
    )
    op.create_index("audit_entry_by_operation", "audit_entry", ["operation_id", "stream"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("last", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "size": 0, "last": _NOTHING}])
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_audit_checkpoint"),
    )
    for statement in _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgres():
        op.execute(statement)


def _sqlite() -> list[str]:
    same = " AND ".join(f'NEW."{name}" IS OLD."{name}"' for name in _KEPT)
    refuse = "SELECT RAISE(ABORT, 'the audit log is append only')"
    return [
        "CREATE TRIGGER audit_entry_kept BEFORE UPDATE ON audit_entry "
        f"WHEN NOT ({same} AND NEW.salt IS NULL AND NEW.opening IS NULL) BEGIN {refuse}; END",
        f"CREATE TRIGGER audit_entry_stays BEFORE DELETE ON audit_entry BEGIN {refuse}; END",
        f"CREATE TRIGGER audit_checkpoint_kept BEFORE UPDATE ON audit_checkpoint BEGIN {refuse}; END",
        f"CREATE TRIGGER audit_checkpoint_stays BEFORE DELETE ON audit_checkpoint BEGIN {refuse}; END",
        "CREATE TRIGGER audit_head_grows BEFORE UPDATE ON audit_head "
        f"WHEN NEW.id <> OLD.id OR NEW.size <> OLD.size + 1 BEGIN {refuse}; END",
        f"CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head BEGIN {refuse}; END",
    ]


def _postgres() -> list[str]:
    same = " AND ".join(f'NEW."{name}" IS NOT DISTINCT FROM OLD."{name}"' for name in _KEPT)
    statements = [
        "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN "
        "RAISE EXCEPTION 'the audit log is append only' USING ERRCODE = 'restrict_violation'; END $body$",
        "CREATE TRIGGER audit_entry_kept BEFORE UPDATE ON audit_entry FOR EACH ROW "
        f"WHEN (NOT ({same} AND NEW.salt IS NULL AND NEW.opening IS NULL)) EXECUTE FUNCTION audit_refuse()",
        "CREATE TRIGGER audit_checkpoint_kept BEFORE UPDATE ON audit_checkpoint FOR EACH ROW "
        "EXECUTE FUNCTION audit_refuse()",
        "CREATE TRIGGER audit_head_grows BEFORE UPDATE ON audit_head FOR EACH ROW "
        "WHEN (NEW.id <> OLD.id OR NEW.size <> OLD.size + 1) EXECUTE FUNCTION audit_refuse()",
    ]
    for table in ("audit_entry", "audit_checkpoint", "audit_head"):
        statements += [
            f"CREATE TRIGGER {table}_stays BEFORE DELETE ON {table} FOR EACH ROW "
            "EXECUTE FUNCTION audit_refuse()",
            f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION audit_refuse()",
        ]
    return statements
