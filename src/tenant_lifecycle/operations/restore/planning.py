"""What a restore would do and why it would be refused; nothing is changed and nothing is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Moment
from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.backup.session import judge_of
from tenant_lifecycle.operations.restore.moments import Chosen
from tenant_lifecycle.stores.backing import Backs, Previews
from tenant_lifecycle.stores.base import FenceState, Store


@dataclass(frozen=True, slots=True)
class StoreRestore:
    """One store's part."""

    store: str
    #: Items by set at that moment.
    sets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Everything a person should know before saying yes."""

    tenant: TenantId
    environment: str
    chosen: Chosen
    #: The base that it is computed from, and when that was taken.
    base: str
    stores: tuple[StoreRestore, ...]
    #: Only these sets, by store; empty: everything.
    only: Mapping[str, Sequence[str]]
    findings: tuple[Finding, ...]

    @property
    def items(self) -> int:
        return sum(sum(one.sets.values()) for one in self.stores)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSAL)

    @property
    def hash(self) -> str:
        """``sha256:`` + hex over what is promised."""
        promised = {
            "tenant": self.tenant,
            "environment": self.environment,
            "at_us": self.chosen.at_us,
            "base": self.chosen.base,
            "stores": [[one.store, dict(one.sets)] for one in self.stores],
            "only": {name: sorted(sets) for name, sets in self.only.items()},
            "refusals": sorted([f.code, f.subject, f.message] for f in self.refusals),
        }
        text = json.dumps(promised, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def plan_restore(
    moment: Moment,
    chosen: Chosen,
    tenant: TenantId,
    environment: str,
    stores: Mapping[str, Store],
    only: Mapping[str, Sequence[str]],
    holds: Sequence[str],
    writer: str | None = None,
) -> RestorePlan:
    """``holds`` are ids of the legal holds about the tenant; ``writer`` is the environment that accepts its writes.

    None: no environment does, or it could not be told.
    """
    parts = tuple(
        StoreRestore(name, {s: f.items for s, f in sorted(moment.fingerprints(name).items())})
        for name in moment.stores()
        if not only or name in only
    )
    findings = [
        *_held(tenant, holds),
        *_fence_findings(tenant, environment, stores, writer),
        *_missing_sets(parts, only),
        *_left_out(moment, environment, stores, only),
        *(f for part in parts for f in _store_findings(moment, part.store, tenant, environment, stores)),
    ]
    if chosen.base is not None:
        findings.append(_without_log(chosen))
    return RestorePlan(tenant, environment, chosen, moment.manifest.id, parts, dict(only), tuple(findings))


def _held(tenant: TenantId, holds: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            "restore.held",
            Severity.REFUSAL,
            f"legal hold {hold} keeps what tenant {tenant!r} has now; a restore in place would delete some of it",
            "look at that moment: tenantctl restore start --preview-only; or have the hold released",
            hold,
        )
        for hold in holds
    ]


def _fence_findings(
    tenant: TenantId, environment: str, stores: Mapping[str, Store], writer: str | None
) -> list[Finding]:
    """The tenant lives here, and nobody else holds its writes."""
    if writer not in (None, environment):
        # This side may never have heard of the tenant and have no row that says so; two would be writers then.
        return [
            _not_writer(tenant, environment, f"its writer is {writer}", f"restore it there: --in {writer}")
        ]
    try:
        judge = judge_of(environment, stores)
    except UnsupportedByStore as error:
        return [Finding("restore.no-fence", Severity.REFUSAL, str(error), error.next_step, environment)]
    row = judge.fence_row(tenant)
    if row is None or row.state is FenceState.ACTIVE:
        return []
    if row.state is FenceState.FENCED:
        return [
            Finding(
                "restore.fenced",
                Severity.REFUSAL,
                f"{environment}: writes of tenant {tenant!r} are held by another operation",
                "wait until it is over: tenantctl op list",
                environment,
            )
        ]
    closed = row.state is FenceState.MOVED and row.target is None
    if closed:
        said = f"{environment}: tenant {tenant!r} is closed: it was erased, or is being erased"
        return [Finding("restore.erased", Severity.REFUSAL, said, "", environment)]
    there = "tenantctl tenant list tells the environment; restore it there"
    return [_not_writer(tenant, environment, "it has another writer", there)]


def _not_writer(tenant: TenantId, environment: str, why: str, next_step: str) -> Finding:
    said = f"{environment} does not accept writes of tenant {tenant!r}: {why}"
    return Finding("restore.not-writer", Severity.REFUSAL, said, next_step, environment)


def _missing_sets(parts: Sequence[StoreRestore], only: Mapping[str, Sequence[str]]) -> list[Finding]:
    known = {part.store: part.sets for part in parts}
    return [
        Finding(
            "restore.no-such-set",
            Severity.REFUSAL,
            f"there was no {name} in {store} at that moment",
            f"sets: {', '.join(sorted(known.get(store, {}))) or 'none'}",
            store,
        )
        for store, sets in only.items()
        for name in sets
        if name not in known.get(store, {})
    ]


def _left_out(
    moment: Moment, environment: str, stores: Mapping[str, Store], only: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """Stores that the backup does not have, whose data stays as it is."""
    if only:
        return []
    return [
        Finding(
            "restore.not-in-backup",
            Severity.WARNING,
            f"{environment}/{name} is not in the backup; what the tenant has there stays as it is",
            subject=f"{environment}/{name}",
        )
        for name, store in stores.items()
        if isinstance(store, Backs) and name not in moment.stores()
    ]


def _store_findings(
    moment: Moment, name: str, tenant: TenantId, environment: str, stores: Mapping[str, Store]
) -> list[Finding]:
    store = stores.get(name)
    if not isinstance(store, Previews):
        return [
            Finding(
                "restore.no-store",
                Severity.REFUSAL,
                f"the backup has {name}, and {environment} has no such store that can be restored to",
                "name it in lifecycle.yaml, or restore single stores with --only",
                f"{environment}/{name}",
            )
        ]
    return store.check_restore(tenant, moment.shapes(name), moment.base(name).facts)


def _without_log(chosen: Chosen) -> Finding:
    return Finding(
        "restore.base-alone",
        Severity.WARNING,
        f"base {chosen.base} of {time_text(chosen.at_us)} is restored as it was read: the change log does not reach it, "
        "so of Redis, vectors and objects each item is as it was when it was read",
        "tenantctl archiver run keeps the log",
    )
