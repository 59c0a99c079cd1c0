"""What a migration would do, as a value with a hash: reviewed, then run as reviewed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.model.window import Window


class Cutover(StrEnum):
    """Who decides the moment of the flip."""

    #: As soon as everything is verified.
    AUTO = "auto"
    #: A person says ``tenantctl migrate promote``.
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A duration that was not measured but reckoned."""

    seconds: float
    #: What it is reckoned from, for example ``12 MB/s per worker assumed``.
    basis: str


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What happens to one store."""

    #: Its name inside an environment, the same on both sides: ``postgres``.
    store: str
    kind: str
    sets: tuple[SetSize, ...]
    how: str

    @property
    def items(self) -> int:
        return sum(size.items for size in self.sets)

    @property
    def bytes(self) -> int:
        return sum(size.bytes for size in self.sets)


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Everything a person should know before saying yes."""

    tenant: TenantId
    source: str
    target: str
    cutover: Cutover
    settle_s: float
    workers: int
    stores: tuple[StorePlan, ...]
    #: Everything pre-flight found; the refusals among them forbid a start.
    findings: tuple[Finding, ...]
    estimate: Estimate
    strategy: Strategy = Strategy.ZERO_DOWNTIME
    #: Why that strategy, and what it does, as one sentence.
    why: str = ""
    #: Percent of the requests that the target serves before it becomes the writer; empty: all at once.
    steps: tuple[int, ...] = ()
    #: How long the tenant cannot write; `estimate` is how long the copy takes.
    pause: Estimate | None = None
    #: With the strategy maintenance_window.
    window: Window | None = None

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSAL)

    @property
    def hash(self) -> str:
        """``sha256:`` + hex over what is promised: who, from where, to where, how, which sets, which refusals.

        Sizes and estimates are left out: they move while the tenant works, and a plan that nobody can
        start because a row was added meanwhile is of no use.
        """
        promised = {
            "tenant": self.tenant,
            "source": self.source,
            "target": self.target,
            "cutover": self.cutover,
            "settle_s": self.settle_s,
            "workers": self.workers,
            "strategy": self.strategy,
            "steps": list(self.steps),
            **({"window": [self.window.opens_at, self.window.seconds]} if self.window else {}),
            "stores": [[p.store, p.kind, p.how, sorted(size.name for size in p.sets)] for p in self.stores],
            "refusals": sorted([f.code, f.subject, f.message] for f in self.refusals),
        }
        text = json.dumps(promised, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
