"""What a plan leaves: sets that a retention rule or a hold keeps, and what may not go while they stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.manifest import SetCount, within
from tenant_lifecycle.model.erasure.plan import SystemPlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.systems import System
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.erasing import Binds, Erases


def retained(sets: Sequence[SetCount], system: str, policy: ErasurePolicy, now: float) -> Mapping[str, str]:
    """Sets that a rule keeps, with its ground and end."""
    rules = ((one.set, policy.kept(system, one.set, now)) for one in sets)
    return {name: f"{rule.ground}: {rule.why}, until {int(rule.until)}" for name, rule in rules if rule}


def held(sets: Sequence[SetCount], system: str, holds: Sequence[Hold]) -> Mapping[str, str]:
    """Sets that a hold keeps, with its matter; ``*`` is all of the system."""
    whole = next((one for one in holds if one.covers(system)), None)
    if whole is not None:
        return {"*": whole.matter}
    keeping = ((one.set, next((h for h in holds if h.covers(system, one.set)), None)) for one in sets)
    return {name: hold.matter for name, hold in keeping if hold is not None}


@dataclass(frozen=True, slots=True)
class Sets:
    """What the sets of one system are called, and which of them are bound to others."""

    system: System
    known: frozenset[str]
    bound: Mapping[str, frozenset[str]]


def sets_of(system: System, store: Erases, counted: Sequence[SetCount], tenant: TenantId) -> Sets:
    """Every set that a rule or a hold could name."""
    bound = store.bound(tenant) if isinstance(store, Binds) else {}
    there = {one.name for one in store.inventory(tenant)} if isinstance(store, Store) else set()
    return Sets(system, frozenset(there | bound.keys() | {one.set for one in counted}), bound)


def torn(planned: SystemPlan, sets: Sets) -> Iterator[Finding]:
    """Refusals: a set is kept that cannot be without another one, which would go."""
    kept = {*(planned.retained or {}), *(planned.held or {})}
    going = {one.set for one in planned.sets} - kept
    for name in sorted(kept):
        whole = next((one for one in sets.bound if within(name, one)), name)
        needed = sets.bound.get(whole, frozenset())
        lost = sorted(one for one in going if any(within(one, need) for need in needed))
        if lost and "*" not in kept:
            yield Finding(
                "erase.keeps-half", Severity.REFUSAL, f"{name} is kept, and cannot be without {', '.join(lost)}, which would go",
                "keep those as well, or nothing of it", planned.system,
            )  # fmt: skip


def misnamed(
    policy: ErasurePolicy, holds: Sequence[Hold], systems: Sequence[Sets], now: float
) -> Iterator[Finding]:
    """Refusals: a retention rule or a hold keeps a set that no system has, so it would keep nothing."""
    for rule in policy.retention:
        mine = [one for one in systems if rule.of(one.system.name)]
        if mine and now < rule.until and not any(within(s, rule.set) for one in mine for s in one.known):
            yield _keeps_nothing("a retention rule", rule.set, mine)
    for hold in holds:
        for name in sorted(hold.sets):
            mine = [one for one in systems if hold.covers(one.system.name, name)]
            if mine and not any(within(s, name) for one in mine for s in one.known):
                yield _keeps_nothing(f"hold {hold.id}", name, mine)


def _keeps_nothing(who: str, name: str, systems: Sequence[Sets]) -> Finding:
    known = sorted({one for sets in systems for one in sets.known})
    return Finding(
        "erase.keeps-nothing", Severity.REFUSAL, f"{who} keeps {name!r}, and there is no such set",
        f"name one of: {', '.join(known)}", systems[0].system.name,
    )  # fmt: skip
