"""The control database's tables about erasures and holds. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tenant_lifecycle.catalog.tables import Document, Serial, in_list, metadata
from tenant_lifecycle.model.erasure.request import CLOSED

erasure_request = Table(
    "erasure_request",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("aliases", Document, nullable=False),
    Column("scope", Document, nullable=False),
    Column("ground", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("extended_because", Text, nullable=False),
    Column("notice", Text, nullable=False),
    Column("extended_at", Double),
    Column("state", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("plan", Document),
    Column("plan_digest", Text),
    Column("planned_at", Double),
    Column("cooling_until", Double),
    Column("operation_id", Text),
    Column("out_of_scope", Document, nullable=False),
)
#: One open request per tenant: a second one would race the first.
Index(
    "one_open_request",
    erasure_request.c.tenant_id,
    unique=True,
    sqlite_where=text(f"state NOT IN {in_list(CLOSED)}"),
    postgresql_where=text(f"state NOT IN {in_list(CLOSED)}"),
)

#: Append only: every change of state, and every refusal.
erasure_event = Table(
    "erasure_event",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("request_id", Text, ForeignKey("erasure_request.id"), nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Document, nullable=False),
    sqlite_autoincrement=True,
)
Index("erasure_event_by_request", erasure_event.c.request_id, erasure_event.c.seq)

erasure_approval = Table(
    "erasure_approval",
    metadata,
    Column("request_id", Text, ForeignKey("erasure_request.id"), nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("request_id", "plan_digest", "by", "at"),
)

hold = Table(
    "hold",
    metadata,
    Column("id", Text, primary_key=True),
    Column("matter", Text, nullable=False),
    Column("ground", Text, nullable=False),
    Column("names", Document, nullable=False),
    Column("systems", Document, nullable=False),
    Column("sets", Document, nullable=False),
    Column("review_at", Double),
)

#: Append only: a hold's state is what its history says.
hold_event = Table(
    "hold_event",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("hold_id", Text, ForeignKey("hold.id"), nullable=False),
    Column("act", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("delay_s", Double, nullable=False),
    sqlite_autoincrement=True,
)
Index("hold_event_by_hold", hold_event.c.hold_id, hold_event.c.seq)

#: One destructive call that runs now; a hold that is placed waits until the tenant has none.
erasure_in_flight = Table(
    "erasure_in_flight",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("names", Document, nullable=False),
    Column("since", Double, nullable=False),
)

#: The manifest: what goes, in the order in which it goes. ``content`` is encrypted with the operation's key.
erasure_batch = Table(
    "erasure_batch",
    metadata,
    Column("operation_id", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("system", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("set_name", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("items", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    # NULL once the operation's key was destroyed.
    Column("content", LargeBinary),
    # NULL: not erased yet.
    Column("erased_at", Double),
    Column("deleted", BigInteger, nullable=False),
    Column("gone", BigInteger, nullable=False),
    Column("refused", Document, nullable=False),
    PrimaryKeyConstraint("operation_id", "round", "system", "number"),
)

#: Destroyed when an operation's last verification is over; then nobody can read its manifest.
erasure_key = Table(
    "erasure_key",
    metadata,
    Column("operation_id", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

#: What a look found, with names of places: encrypted like the manifest.
erasure_residue = Table(
    "erasure_residue",
    metadata,
    Column("operation_id", Text, nullable=False),
    Column("look", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("operation_id", "look", "system"),
)

#: A certificate from the moment it has a number. What was signed is written before it goes into the audit log, so
#: that whoever comes after a crash logs the same one.
erasure_certificate = Table(
    "erasure_certificate",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text, ForeignKey("erasure_request.id"), nullable=False),
    Column("operation_id", Text, nullable=False),
    # interim/1, final/2, partial/1: an operation has one certificate of each.
    Column("stage", Text, nullable=False),
    Column("supersedes", Text),
    # What opens the commitments to the tenant, and to those who approved.
    Column("salt", LargeBinary, nullable=False),
    Column("actor_salt", LargeBinary, nullable=False),
    # NULL: not signed yet.
    Column("signed_at", Double),
    Column("envelope", LargeBinary),
    Column("plan", LargeBinary),
    Column("inventory", LargeBinary),
    Column("evidence", LargeBinary),
    # NULL: not known to be in the audit log yet, so not issued.
    Column("proof", Text),
    Column("revoked_at", Double),
    Column("revoked_because", Text, nullable=False),
    UniqueConstraint("operation_id", "stage", name="uq_erasure_certificate_stage"),
)
Index("erasure_certificate_by_request", erasure_certificate.c.request_id, erasure_certificate.c.id)
