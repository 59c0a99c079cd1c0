"""Which keys are whose, for stores whose items are found by key: Redis, vectors, objects, and every later one.

A *family* is a set in the sense of `stores.base`: keys of one kind. Closed world: a key that no family and no
``global`` template mentions is unmapped, and unmapped data stops a migration. A *shared* container (a queue, a
stream, a leaderboard) is nobody's as a whole and stays where it is; `sharedmap` says which of its members are whose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import TypeVar

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared, Shared
from tenant_lifecycle.model.tablemap import OwnedTable, ResolvedTables, TableRule
from tenant_lifecycle.model.templates import Pattern, Template

Key = TypeVar("Key")


class Treatment(StrEnum):
    """What a move does with a family."""

    #: Copied, followed, compared; a difference stops the flip.
    MOVE = "move"
    #: Can be made again: copied when it is easy, and a difference is mended by deleting the key on the target.
    WARM = "warm"
    #: Can be made again: not copied; what changes is deleted on the target, so that nothing stale is served there.
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class IdSet:
    """Values of one column in the tenant's rows of an owned table, as text."""

    table: TableName
    column: str


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of keys: made from a template, or named one by one in rows."""

    template: Template | None = None
    #: The column that holds whole keys; then ``template`` says in which area they lie, for the closed world.
    named_in: IdSet | None = None
    treatment: Treatment = Treatment.MOVE


@dataclass(frozen=True, slots=True)
class KeyMap:
    """The rules of one store, by the store's name in an environment."""

    families: Mapping[str, Family] = field(default_factory=dict)
    #: Nobody's: stays where it is.
    globals: tuple[Template, ...] = ()
    #: Containers with members of many tenants, by name.
    shared: Mapping[str, Shared] = field(default_factory=dict)
    #: Tables of a store of rows (analytics), by their names there.
    tables: Mapping[str, TableRule] = field(default_factory=dict)

    def mentions(self, text: str) -> bool:
        """Whether some rule could be about the key: some tenant's family, a shared container, or global."""
        return any(template.mentions(text) for template in self.templates())

    def templates(self) -> list[Template]:
        """All templates of keys."""
        own = [family.template for family in self.families.values() if family.template is not None]
        return [*own, *(one.template for one in self.shared.values()), *self.globals]

    def id_sets(self) -> frozenset[str]:
        """Names of the id sets that the templates use."""
        names: set[str] = {name for one in self.shared.values() for name in one.owner.names}
        names |= {rule.ids for rule in self.tables.values() if rule.ids is not None}
        for family in self.families.values():
            if family.template is not None and family.named_in is None:
                names |= family.template.names
        return frozenset(names - {"tenant"})

    def resolve(self, tenant: str, ids: TenantIds) -> ResolvedKeys:
        """The tenant's families with every value put in."""
        families = {name: _resolve(name, family, tenant, ids) for name, family in self.families.items()}
        return ResolvedKeys(tenant, families)

    def resolve_tables(self, tenant: str, ids: TenantIds, present: Iterable[str]) -> ResolvedTables:
        """The rules applied to the tables that exist; what none of them mentions is unmapped."""
        owned: dict[str, OwnedTable] = {}
        unmapped: set[str] = set()
        for table in present:
            rule = self.tables.get(table)
            if rule is not None:
                owned[table] = rule.resolve(tenant, ids.sets)
            elif not any(one.mentions(table) for one in self.globals):
                unmapped.add(table)
        return ResolvedTables(tenant, owned, frozenset(unmapped))

    def resolve_shared(self, tenant: str, ids: TenantIds) -> list[ResolvedShared]:
        """The shared containers, and which members of them are the tenant's."""
        return [one.resolve(name, tenant, ids.sets) for name, one in self.shared.items()]


@dataclass(frozen=True, slots=True)
class TenantIds:
    """Ids of one tenant, read in one snapshot of its relational store."""

    #: Values by id set, for the placeholders of templates.
    sets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Whole keys named in rows.
    named: Mapping[IdSet, frozenset[str]] = field(default_factory=dict)

    def union(self, other: TenantIds) -> TenantIds:
        """Every id that either knows."""

        def both(
            mine: Mapping[Key, frozenset[str]], theirs: Mapping[Key, frozenset[str]]
        ) -> dict[Key, frozenset[str]]:
            return {
                name: mine.get(name, frozenset()) | theirs.get(name, frozenset()) for name in {*mine, *theirs}
            }

        return TenantIds(both(self.sets, other.sets), both(self.named, other.named))


#: Reads them, for one tenant, as they are now; wiring gives it to every store. May raise `StoreError`.
IdSource = Callable[[TenantId], TenantIds]


@dataclass(frozen=True, slots=True)
class ResolvedFamily:
    """One family of one tenant."""

    name: str
    treatment: Treatment
    #: Whole keys.
    exact: frozenset[str]
    #: Patterns with a star.
    patterns: tuple[Pattern, ...]

    def holds(self, text: str) -> bool:
        return text in self.exact or any(pattern.matches(text) for pattern in self.patterns)


class ResolvedKeys:
    """The key map applied to one tenant."""

    def __init__(self, tenant: str, families: Mapping[str, ResolvedFamily]) -> None:
        self.tenant = tenant
        self.families = dict(families)
        # By prefix: a tenant may have thousands of data sets, and every key of a scan is asked about.
        self._exact: dict[str, str] = {}
        self._open: dict[str, list[tuple[Pattern, str]]] = {}
        for name, family in self.families.items():
            for key in family.exact:
                self._exact.setdefault(key, name)
            for pattern in family.patterns:
                self._open.setdefault(pattern.prefix, []).append((pattern, name))
        self._lengths = sorted({len(prefix) for prefix in self._open}, reverse=True)

    def family_of(self, text: str) -> str | None:
        """The family a key belongs to: the one with the longest matching prefix; None if it is not the tenant's."""
        found = self._exact.get(text)
        if found is not None:
            return found
        for length in self._lengths:
            for pattern, name in self._open.get(text[:length], ()):
                if pattern.matches(text):
                    return name
        return None

    def patterns(self) -> Iterable[Pattern]:
        """Every pattern, whole keys included."""
        for family in self.families.values():
            yield from (Pattern(key) for key in sorted(family.exact))
            yield from family.patterns


def _resolve(name: str, family: Family, tenant: str, ids: TenantIds) -> ResolvedFamily:
    if family.named_in is not None:
        return ResolvedFamily(name, family.treatment, ids.named.get(family.named_in, frozenset()), ())
    assert family.template is not None
    names = sorted(family.template.names - {"tenant"})
    filled = [
        family.template.fill({"tenant": tenant, **dict(zip(names, values, strict=True))})
        for values in product(*(sorted(ids.sets.get(one, frozenset())) for one in names))
    ]
    return ResolvedFamily(
        name,
        family.treatment,
        frozenset(pattern.prefix for pattern in filled if not pattern.open),
        tuple(pattern for pattern in filled if pattern.open),
    )


def overlapping(first: ResolvedKeys, second: ResolvedKeys) -> tuple[str, str] | None:
    """Families of two tenants that some key would belong to both of; None if there are none.

    Tenant ``a`` with ``cache:{tenant}:*`` also matches the keys of a tenant called ``a:b``.
    """
    for name, family in first.families.items():
        for other_name, other in second.families.items():
            if any(p.overlaps(q) for p in _all(family) for q in _all(other)):
                return name, other_name
    return None


def _all(family: ResolvedFamily) -> list[Pattern]:
    return [*(Pattern(key) for key in family.exact), *family.patterns]
