"""Two environments side by side: which store of one answers to which store of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.errors import ConfigError, UnsupportedByStore, UsageError
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.stores.base import Copies, Fences, Keyed, Stays, Store


@dataclass(frozen=True, slots=True)
class StorePair:
    """One store of the source environment and its counterpart in the target."""

    #: The name both have inside their environment: ``postgres``.
    name: str
    source: Store
    target: Store
    #: How changes are learned if it has no change log.
    changes: Changes = Changes.CLIENT

    def reversed(self) -> StorePair:
        return StorePair(self.name, self.target, self.source, self.changes)


@dataclass(frozen=True, slots=True)
class Pair:
    """Everything of two environments that a tenant's data can be in."""

    source: str
    target: str
    stores: tuple[StorePair, ...]
    #: Stores of the source whose data stays where it is.
    staying: tuple[Store, ...] = ()

    def reversed(self) -> Pair:
        """The same two environments with the roles exchanged."""
        return Pair(self.target, self.source, tuple(pair.reversed() for pair in self.stores), self.staying)

    @property
    def judge_last(self) -> tuple[StorePair, ...]:
        """The stores in the order they are emptied in: the judge's rows tell which ids the others' items have."""
        judge = self.judge
        return (*(one for one in self.stores if one is not judge), judge)

    @property
    def judge(self) -> StorePair:
        """The pair whose fence decides who the writer is: the one commit point of a flip.

        Raises:
            UnsupportedByStore: no store of the environments can fence.
        """
        for pair in self.stores:
            if isinstance(pair.source, Fences) and isinstance(pair.target, Fences):
                return pair
        raise UnsupportedByStore(
            f"no store of {self.source} and {self.target} can fence a tenant's writes",
            next_step="a move without downtime needs a PostgreSQL store in both environments",
        )


def pair_up(
    source: str,
    target: str,
    environments: Mapping[str, Mapping[str, Store]],
    changes: Mapping[str, Changes] | None = None,
) -> Pair:
    """Match the stores of two environments by name and kind; ``changes`` is what was declared, by store.

    Raises:
        UsageError: unknown environment, or twice the same.
        ConfigError: a store has no counterpart of its kind, or cannot be moved and is not declared as staying.
    """
    if source == target:
        raise UsageError(f"source and target must differ, both are {source!r}")
    for name in (source, target):
        if name not in environments:
            known = ", ".join(sorted(environments)) or "none"
            raise UsageError(f"no environment {name!r} in lifecycle.yaml", next_step=f"environments: {known}")
    pairs, staying = [], []
    for name, store in environments[source].items():
        if isinstance(store, Stays) and not store.moves:
            staying.append(store)
            continue
        if not isinstance(store, Copies | Keyed):
            raise ConfigError(
                f"store {name!r} ({store.kind}) of environment {source!r} cannot be moved",
                next_step="if its data may stay where it is, say so: moves: false",
            )
        other = environments[target].get(name)
        if other is None or other.kind != store.kind:
            raise ConfigError(
                f"store {name!r} ({store.kind}) of environment {source!r} has no counterpart in {target!r}",
                next_step="give both environments a store of that name and kind in lifecycle.yaml",
            )
        pairs.append(StorePair(name, store, other, (changes or {}).get(name, Changes.CLIENT)))
    return Pair(source, target, tuple(pairs), tuple(staying))
