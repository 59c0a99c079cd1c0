"""Which data is whose: the rules of the ownership map, as values.

The file format is read by `tenant_lifecycle.ownership_file`; how a rule becomes SQL is the business of
the PostgreSQL store (``stores/postgres/owned.py``). Closed world: a table without a rule is unmapped,
and unmapped data stops a migration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.model.keymap import IdSet, KeyMap
from tenant_lifecycle.model.names import TableName


@dataclass(frozen=True, slots=True)
class Root:
    """The table of tenants itself: the row whose ``column`` is the tenant's id belongs to the tenant."""

    column: str


@dataclass(frozen=True, slots=True)
class Direct:
    """A row belongs to the tenant named in ``column``."""

    column: str


@dataclass(frozen=True, slots=True)
class Hop:
    """One way to an owner: ``columns`` of the row equal ``parent_columns`` of a row of ``parent``.

    The parent's own rule says whose the parent is, so several hops need no more than this.
    ``parent is None`` means that ``columns`` holds the tenant's id itself (a fall-back to a direct column).
    """

    columns: tuple[str, ...]
    parent: TableName | None = None
    parent_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Via:
    """A row belongs to the owner found over the first hop whose columns are all NOT NULL in the row."""

    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """People who may belong to several tenants, through the rows of a membership table.

    A row whose ``key`` no other tenant's membership names is the tenant's alone and moves like an owned
    row. A row shared with other tenants is copied if the target lacks it, and never overwritten or deleted.
    """

    #: The table of memberships; it has a rule of its own (usually `Direct`).
    through: TableName
    #: Column of the membership table that names the person.
    column: str
    #: Column of this table that ``column`` refers to.
    key: str


@dataclass(frozen=True, slots=True)
class Global:
    """Belongs to nobody and stays where it is (plans, prices, migrations bookkeeping)."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Every row belongs to the tenant: what tables of a per-tenant schema or database resolve to."""


Rule = Root | Direct | Via | Shared | Global | Whole


@dataclass(frozen=True, slots=True)
class OwnershipMap:
    """Whose is what: the rules for the relational stores, and for each store whose items are found by key.

    Exactly one table has the rule `Root`, unless ``schema_template`` or ``per_database`` is used alone.
    """

    tables: Mapping[TableName, Rule] = field(default_factory=dict)
    #: ``tenant_{tenant}``: every table of that schema belongs to the tenant; None if not used.
    schema_template: str | None = None
    #: True: every table of the database belongs to the one tenant it was opened for.
    per_database: bool = False
    #: Sets of ids that templates may use, by name.
    ids: Mapping[str, IdSet] = field(default_factory=dict)
    #: Rules of the other stores, by their name inside an environment.
    keys: Mapping[str, KeyMap] = field(default_factory=dict)

    @property
    def root(self) -> TableName | None:
        """The table of tenants, None when tenants are schemas or databases only."""
        return next((name for name, rule in self.tables.items() if isinstance(rule, Root)), None)

    def resolve(self, tenant: str, present: frozenset[TableName]) -> ResolvedMap:
        """Apply the map to the tables that exist, for one tenant.

        Every table of ``present`` lands in exactly one of the four groups of the result. Schemas that match
        the template for *another* tenant are foreign, which is neither owned nor unmapped.
        """
        own_schema = self.schema_template.replace("{tenant}", tenant) if self.schema_template else None
        owned: dict[TableName, Rule] = {}
        shared: dict[TableName, Shared] = {}
        ignored: set[TableName] = set()
        unmapped: set[TableName] = set()
        for table in sorted(present):
            rule = self.tables.get(table)
            if rule is None and (self.per_database or table.schema == own_schema):
                rule = Whole()
            if rule is None:
                (ignored if self._matches_template(table.schema) else unmapped).add(table)
            elif isinstance(rule, Global):
                ignored.add(table)
            elif isinstance(rule, Shared):
                shared[table] = rule
            else:
                owned[table] = rule
        return ResolvedMap(tenant, owned, shared, frozenset(ignored), frozenset(unmapped))

    def _matches_template(self, schema: str) -> bool:
        if self.schema_template is None:
            return False
        before, _, after = self.schema_template.partition("{tenant}")
        return len(schema) > len(before) + len(after) and schema.startswith(before) and schema.endswith(after)


@dataclass(frozen=True, slots=True)
class ResolvedMap:
    """The map applied to one tenant and the tables that exist."""

    tenant: str
    #: Rules `Root`, `Direct`, `Via`, `Whole`: rows that are the tenant's and nobody else's.
    owned: Mapping[TableName, Rule]
    shared: Mapping[TableName, Shared]
    #: Global tables and other tenants' schemas.
    ignored: frozenset[TableName]
    #: Present but not mentioned: these stop a migration.
    unmapped: frozenset[TableName]

    @property
    def moved(self) -> tuple[TableName, ...]:
        """Every table that takes part in a move, parents before children (shared people first)."""
        return tuple(_parents_first({**self.shared, **self.owned}))

    def level(self, table: TableName) -> int:
        """How many tables have to be asked whose a row of ``table`` is: what it hangs on has a smaller level.

        Rows have to arrive level by level. A child that comes before its parent may lose the parent on the way
        (deleted at the source in between), and then nothing says that the child was the tenant's.
        """
        rule: Rule | None = self.shared.get(table) or self.owned.get(table)
        match rule:
            case Via(hops):
                return 1 + max((self.level(hop.parent) for hop in hops if hop.parent is not None), default=-1)
            case Shared(through):
                return 1 + self.level(through)
        return 0


def _parents_first(rules: Mapping[TableName, Rule]) -> list[TableName]:
    """Order tables so that what a `Via` rule refers to comes before; ties by name. Cycles are cut."""
    done: list[TableName] = []
    seen: set[TableName] = set()

    def visit(table: TableName) -> None:
        if table in seen or table not in rules:
            return
        seen.add(table)
        rule = rules[table]
        if isinstance(rule, Via):
            for hop in rule.hops:
                if hop.parent is not None:
                    visit(hop.parent)
        done.append(table)

    for table in sorted(rules, key=lambda name: (not isinstance(rules[name], (Root, Shared)), name)):
        visit(table)
    return done
