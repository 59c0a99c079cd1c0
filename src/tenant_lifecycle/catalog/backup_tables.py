"""The control database's tables about clones and drills. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, LargeBinary, Table, Text, text

from tenant_lifecycle.catalog.tables import Document, in_list, metadata
from tenant_lifecycle.model.backup.clone import LIVING

#: One row for each clone that was ever begun; it outlives the data.
clone = Table(
    "clone",
    metadata,
    # The operation that makes it.
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    # What the gate found: counts and digests; NULL = it was not asked yet.
    Column("report", Document),
    # The report in a signed envelope; NULL = nobody's key was configured.
    Column("envelope", LargeBinary),
)
#: One clone of a name in an environment at a time.
Index(
    "one_living_clone",
    clone.c.tenant_id,
    clone.c.environment,
    unique=True,
    sqlite_where=text(f"state IN {in_list(LIVING)}"),
    postgresql_where=text(f"state IN {in_list(LIVING)}"),
)

#: One row for each restore drill that ended.
drill = Table(
    "drill",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("ended_at", Double, nullable=False),
    # From the decision to a proved tenant.
    Column("rto_s", Double, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("report", Document, nullable=False),
    # NULL = nobody's key was configured.
    Column("envelope", LargeBinary),
)
Index("drill_by_tenant", drill.c.tenant_id, drill.c.ended_at)
