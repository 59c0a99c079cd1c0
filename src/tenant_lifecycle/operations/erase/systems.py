"""The systems of an erasure: every store of every environment, each with its verifier, in the order of deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.stores.base import Resolves, Store
from tenant_lifecycle.stores.erasing import Erases, Searches

#: Caches first, so that nothing is served from them; rows late, for they tell what the others' items are; copies
#: last. A kind that is not listed comes before the rows.
_RANK: Mapping[str, int] = {
    "redis": 10,
    "pinecone": 20,
    "qdrant": 20,
    "elasticsearch": 30,
    "s3": 40,
    "clickhouse": 50,
    "duckdb": 50,
    "cloudwatch": 60,
    "folder": 60,
    "postgres": 90,
    "backups": 100,
}
_UNLISTED = 70


@dataclass(frozen=True, slots=True)
class System:
    """One store as the eraser sees it, and the same as the verifier sees it."""

    #: ``blue/postgres``; unique in an installation.
    name: str
    kind: str
    store: Store
    #: The same system opened with the verifier's credentials; None: nobody can search it.
    verifier: Store | None = None

    @property
    def unsupported(self) -> str:
        """ "" or why nothing of ours can finish this system."""
        if not isinstance(self.store, Erases):
            return f"nothing of ours can erase a store of kind {self.kind}"
        if not isinstance(self.verifier, Searches):
            return f"nothing of ours can search a store of kind {self.kind}, so nothing would be proven"
        return ""

    @property
    def erases(self) -> Erases | None:
        return self.store if isinstance(self.store, Erases) else None

    @property
    def searches(self) -> Searches | None:
        return self.verifier if isinstance(self.verifier, Searches) else None


Environments = Mapping[str, Mapping[str, Store]]


def systems_of(stores: Environments, verifiers: Environments, scope: Sequence[str] = ()) -> list[System]:
    """Every system of the environments in ``scope`` (empty: all), in the order in which they are erased.

    Raises:
        UsageError: there is none, or no such environment; erasing nothing would prove nothing.
    """
    unknown = sorted(set(scope) - set(stores))
    if unknown:
        known = ", ".join(sorted(stores)) or "none"
        raise UsageError(
            f"no environment {unknown[0]!r} in lifecycle.yaml", next_step=f"environments: {known}"
        )
    found = [
        System(f"{environment}/{name}", store.kind, store, verifiers.get(environment, {}).get(name))
        for environment, some in stores.items()
        if not scope or environment in scope
        for name, store in some.items()
    ]
    if not found:
        raise UsageError(
            "there is no system to erase the tenant in", next_step="lifecycle.yaml: environments"
        )
    return sorted(
        found, key=lambda one: (_RANK.get(one.kind, _UNLISTED), isinstance(one.store, Resolves), one.name)
    )
