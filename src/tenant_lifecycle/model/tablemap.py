"""Whose rows are whose in analytics: one column says it, with the tenant's id or with the id of something of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableRule:
    """A row belongs to the tenant whom ``column`` names."""

    column: str
    #: The id set that the column's values are of (a project's, a data set's); None: the tenant's id itself.
    ids: str | None = None

    def resolve(self, tenant: str, sets: Mapping[str, frozenset[str]]) -> OwnedTable:
        """Put in a tenant's id, or ids."""
        values = frozenset({tenant}) if self.ids is None else sets.get(self.ids, frozenset())
        return OwnedTable(self.column, values)


@dataclass(frozen=True, slots=True)
class OwnedTable:
    """The rule for one tenant: rows in whose ``column`` one of ``values`` stands, as text."""

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class ResolvedTables:
    """The rules of a store, applied to one tenant and the tables that exist."""

    tenant: str
    owned: Mapping[str, OwnedTable]
    #: Present and not mentioned: these stop an erasure.
    unmapped: frozenset[str]
