"""A proposed ownership map: every rule with its evidence and how far it can be trusted. People decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Hop, OwnershipMap, Rule

#: Rules below this are shown as alternatives and not proposed.
ENOUGH = 0.6
#: Fewer sampled values than this say little.
TELLING = 20


class Origin(StrEnum):
    """Why an edge was thought of; what the data says decides."""

    DECLARED = "declared as a foreign key"
    NAME = "by its name"
    VALUES = "by its values"


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from rows of a table towards an owner, and what a sample of rows says about it."""

    table: TableName
    hop: Hop
    origin: Origin
    #: How telling the name is, 0..1; 1 for declared keys.
    telling: float = 1.0
    #: Rows looked at; of them with a value; of those found in the parent.
    sampled: int = 0
    present: int = 0
    found: int = 0
    #: Found rows whose tenant is known in another way as well; of those the same tenant.
    compared: int = 0
    agreeing: int = 0
    #: Whole numbers are found in every table of numbers, so finding them proves nothing.
    numbers: bool = False

    @property
    def covers(self) -> float:
        """Share of sampled rows that this way leads somewhere."""
        return self.found / self.sampled if self.sampled else 1.0

    @property
    def complete(self) -> bool:
        """Whether every sampled row has an owner this way."""
        return self.found == self.sampled

    @property
    def confidence(self) -> float:
        """How far the way can be trusted, 0..1.

        Agreement of tenants outweighs everything: a wrong way is found out by it within a few hundred rows,
        while containment accepts most wrong pairs of serial numbers.
        """
        base = {Origin.DECLARED: 0.9, Origin.NAME: 0.3 + 0.25 * self.telling, Origin.VALUES: 0.35}[
            self.origin
        ]
        if self.present == 0:
            return round(base + (0.1 if self.origin is Origin.NAME and self.telling == 1 else 0.0), 2)
        found = self.found / self.present
        if self.present >= TELLING or self.origin is Origin.DECLARED:
            base += 0.1 if self.numbers else 0.3
        else:
            base += 0.05
        if self.compared:
            agreement = self.agreeing / self.compared
            if agreement < 0.95:
                return round(min(base, 0.3) * agreement, 2)
            base += 0.3 if self.compared >= TELLING else 0.15
            base -= 0.2 if agreement < 1 else 0.0
        return round(min(base, 0.99) * found, 2)

    def evidence(self) -> str:
        """What speaks for it and against it, in one sentence."""
        columns = ", ".join(self.hop.columns)
        target = f"{self.hop.parent}" if self.hop.parent is not None else "the tenant"
        said = f"{columns} -> {target}, {self.origin}"
        if not self.sampled:
            return f"{said}; no rows to try it on"
        said += f"; {self.found} of {self.present} sampled values are found"
        if self.present < self.sampled:
            said += f", {self.sampled - self.present} of {self.sampled} rows have none"
        if self.compared:
            said += f"; the tenant agrees in {self.agreeing} of {self.compared}"
        elif self.numbers and self.origin is not Origin.DECLARED:
            said += "; numbers, and nothing to compare tenants with"
        return said


@dataclass(frozen=True, slots=True)
class Proposed:
    """What is proposed for one table."""

    table: TableName
    #: None: undecided, a person has to.
    rule: Rule | None
    confidence: float
    #: Sentences: why this rule, or what is known about an undecided table.
    evidence: tuple[str, ...]
    #: Other rules that were weighed, with their confidence and why.
    alternatives: tuple[tuple[Rule, float, str], ...] = ()

    def comments(self) -> tuple[str, ...]:
        """Lines to stand above the rule in a file."""
        known = (f"confidence {self.confidence:.2f}",) if self.rule is not None else ()
        others = (f"or ({confidence:.2f}): {said}" for _, confidence, said in self.alternatives)
        return (*known, *self.evidence, *others)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that was found in one database."""

    tables: tuple[Proposed, ...]
    schema_template: str | None = None
    #: About the database as a whole.
    remarks: tuple[str, ...] = ()

    @property
    def map(self) -> OwnershipMap:
        """The decided part as a map; undecided tables are unmapped in it."""
        return OwnershipMap(
            {item.table: item.rule for item in self.tables if item.rule is not None},
            schema_template=self.schema_template,
        )

    @property
    def undecided(self) -> tuple[Proposed, ...]:
        """Tables that a person has to decide about."""
        return tuple(item for item in self.tables if item.rule is None)
