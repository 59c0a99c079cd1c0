"""The two sides of a planned move, opened and read once for every check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import OwnershipMap, ResolvedMap, Shared, Via
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.facts import Facts
from tenant_lifecycle.stores.postgres.tables import Table


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a check becomes strict, and how much it may read."""

    #: A transaction that has written and is older than this stops a move.
    long_transaction_s: float = 60.0
    #: Rows of one table that are compared where a missed collision could only stop the copy.
    compared_rows: int = 1_000_000
    #: Rows brought to the target at once.
    chunk_rows: int = 50_000
    #: Numbers of another tenant on the target this close ahead of the source's sequence are a warning.
    numbers_apart: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Side:
    """One database of the pair."""

    #: For people: ``blue/postgres``.
    name: str
    conn: Connection
    facts: Facts
    map: OwnershipMap
    tables: Mapping[TableName, Table]
    resolved: ResolvedMap

    @property
    def moved(self) -> tuple[Table, ...]:
        """The tables here that take part in the move, parents first.

        A table whose way to an owner leads over one that is not here is left out: it owns nothing yet.
        """
        return tuple(self.tables[name] for name in self.resolved.moved if self._leads_to_an_owner(name))

    def _leads_to_an_owner(self, name: TableName) -> bool:
        rule = self.resolved.shared.get(name) or self.resolved.owned.get(name)
        match rule:
            case None:
                return False
            case Shared(through):
                return through in self.resolved.owned and self._leads_to_an_owner(through)
            case Via(hops):
                return all(hop.parent is None or self._leads_to_an_owner(hop.parent) for hop in hops)
        return True


@dataclass(frozen=True, slots=True)
class Pair:
    """Source and target of one tenant's move."""

    source: Side
    target: Side
    tenant: TenantId
    limits: Limits
    #: Free bytes on the target's disk, where a hook could say; SQL cannot.
    target_free_bytes: int | None = None

    @property
    def sides(self) -> tuple[Side, Side]:
        return (self.source, self.target)

    def common(self) -> list[tuple[Table, Table]]:
        """Moved tables that exist on both sides."""
        there = {table.name: table for table in self.target.moved}
        return [(table, there[table.name]) for table in self.source.moved if table.name in there]


#: Moved tables with their partitions: (root, rel); takes the parameter ``oids``.
PIECES = """
pieces AS (
    SELECT root, root AS rel FROM unnest(%(oids)s::oid[]) root
    UNION SELECT root, t.relid FROM unnest(%(oids)s::oid[]) root, pg_partition_tree(root) t)
"""


def listed(items: Iterable[object], most: int = 5) -> str:
    """Names for a sentence: the first few, and how many more."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def size_text(size: int) -> str:
    """Bytes for people."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
