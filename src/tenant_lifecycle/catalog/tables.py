"""The control database's tables. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from tenant_lifecycle.model.operation import DRIVABLE, EXCLUSIVE_KINDS, TERMINAL

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

#: SQLite numbers rows by itself only for a key of type INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")
Document = JSON(none_as_null=True)


def in_list(values: frozenset[str]) -> str:
    """The values as an SQL list, sorted; they are our own constants."""
    return "(" + ", ".join(f"'{value}'" for value in sorted(values)) + ")"


#: The driver token grows for ever, across operations, and never goes back.
tenant_token = Table(
    "tenant_token",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("token", BigInteger, nullable=False),
)

tenant = Table(
    "tenant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("tier", Text, nullable=False),
    # The environment whose databases accept the tenant's writes.
    Column("environment", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

operation = Table(
    "operation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("spec", Document, nullable=False),
    Column("plan", Document, nullable=False),
    Column("plan_hash", Text),
    Column("state", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("aborting", Boolean, nullable=False),
    Column("why", Text, nullable=False),
    Column("owner", Text),
    Column("token", BigInteger, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("wake_at", Double, nullable=False),
    Column("wake_signals", Document, nullable=False),
    Column("stalls", Integer, nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("parent_id", Text, ForeignKey("operation.id")),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("result", Document),
    Column("error", Document),
    # The error that began the abort, if an error did.
    Column("cause", Document),
    CheckConstraint("desired IN ('run', 'pause', 'abort')", name="desired"),
)
#: One active exclusive operation per tenant.
Index(
    "one_active",
    operation.c.tenant_id,
    unique=True,
    sqlite_where=text(f"state NOT IN {in_list(TERMINAL)} AND kind IN {in_list(EXCLUSIVE_KINDS)}"),
    postgresql_where=text(f"state NOT IN {in_list(TERMINAL)} AND kind IN {in_list(EXCLUSIVE_KINDS)}"),
)
Index(
    "ready",
    operation.c.wake_at,
    sqlite_where=text(f"state IN {in_list(DRIVABLE)}"),
    postgresql_where=text(f"state IN {in_list(DRIVABLE)}"),
)
Index("operation_by_tenant", operation.c.tenant_id, operation.c.created_at)

step = Table(
    "step",
    metadata,
    Column("operation_id", Text, ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("ord", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("critical", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # Failures in a row since the last progress.
    Column("failures", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("cursor", Document),
    Column("done_units", BigInteger),
    Column("total_units", BigInteger),
    Column("exact", Boolean, nullable=False),
    Column("detail", Document, nullable=False),
    Column("output", Document),
    Column("error", Document),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("done_at", Double),
    Column("next_try_at", Double),
)

#: Append only. Written under the operation's row lock, so that within one operation ``seq`` is the order
#: in which lines became visible, and a reader that continues after the last seen misses nothing.
event = Table(
    "event",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("operation_id", Text, ForeignKey("operation.id", ondelete="CASCADE"), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Document, nullable=False),
    sqlite_autoincrement=True,
)
Index("event_by_operation", event.c.operation_id, event.c.seq)

signal = Table(
    "signal",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("operation_id", Text, ForeignKey("operation.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Document, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Double, nullable=False),
    # Token of the driver whose step took it into account; NULL = nobody yet.
    Column("consumed_token", BigInteger),
    sqlite_autoincrement=True,
)
Index("signal_by_operation", signal.c.operation_id, signal.c.seq)

work_item = Table(
    "work_item",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("ord", Integer, nullable=False),
    Column("payload", Document, nullable=False),
    # todo, claimed, done, failed
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("worker", Text),
    # Driver token under which it was claimed; a claim under an older token is void.
    Column("token", BigInteger, nullable=False),
    Column("claimed_until", Double, nullable=False),
    Column("next_try_at", Double, nullable=False),
    Column("output", Document),
    Column("error", Document),
    ForeignKeyConstraint(["operation_id"], ["operation.id"], ondelete="CASCADE"),
)
Index("work_item_open", work_item.c.operation_id, work_item.c.step, work_item.c.status, work_item.c.ord)

#: The audit log. Append only: triggers refuse every change but the erasing of salt and opening.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # The bytes in the tree, canonical JSON.
    Column("leaf", Text, nullable=False),
    # Hashes of the perfect subtrees that this leaf completes, smallest first, 32 bytes each.
    Column("nodes", LargeBinary, nullable=False),
    # As in the leaf, to be searched by.
    Column("operation_id", Text, nullable=False),
    Column("stream", BigInteger, nullable=False),
    Column("after", Text, nullable=False),
    # What opens the leaf's commitments; NULL = redacted.
    Column("salt", LargeBinary),
    Column("opening", Document),
)
Index("audit_entry_by_operation", audit_entry.c.operation_id, audit_entry.c.stream)

#: One row: where the log ends. Its row lock makes writers take turns, one after the other until each commits.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    # Leaf hash of the last entry, hex.
    Column("last", Text, nullable=False),
)

#: Signed heads of the log. Append only.
audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
