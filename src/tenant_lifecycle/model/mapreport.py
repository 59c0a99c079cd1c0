"""What proving an ownership map against a live database gave."""

from __future__ import annotations

from dataclasses import dataclass

from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TableName


@dataclass(frozen=True, slots=True)
class TableOwners:
    """The rows of one table by who owns them; ``rows == owned + ownerless + dangling`` was counted."""

    table: TableName
    rows: int
    #: Rows of exactly one tenant that exists; of a shared table: people with at least one tenant.
    owned: int
    #: Rows whose way to an owner ends at a NULL or at a row that is not there.
    ownerless: int
    #: Rows of a tenant that the root does not have.
    dangling: int
    #: Rows that another way of the same rule gives to another tenant; they are in ``owned`` as well.
    disputed: int
    #: People with more than one tenant; 0 for tables that are not shared.
    shared: int = 0

    @property
    def orphans(self) -> int:
        """Rows that no tenant owns: they stay behind in a move."""
        return self.ownerless + self.dangling


@dataclass(frozen=True, slots=True)
class MapReport:
    """Every table's numbers and everything that was found."""

    tables: tuple[TableOwners, ...]
    findings: tuple[Finding, ...]

    @property
    def proven(self) -> bool:
        """Whether nothing forbids to use the map."""
        return not refusals(self.findings)
