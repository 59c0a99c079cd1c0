"""What an erasure would do, as a value with a digest: people approve the digest, and the run is bound to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.model.erasure.manifest import Method, SetCount
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding, Severity

#: So few items more are never a reason to ask again.
_FREE_GROWTH = 100


@dataclass(frozen=True, slots=True)
class PlannedHorizon:
    """What remains at a provider whatever is done."""

    level: Level
    days: int
    source: str


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """What happens to one system (``blue/postgres``)."""

    system: str
    kind: str
    required: Level
    sets: tuple[SetCount, ...] = ()
    #: Digest of the manifest as it was when the plan was made.
    digest: str = ""
    #: "" or why nothing of ours can erase or search it.
    unsupported: str = ""
    #: "" or why a person declared it out of scope.
    out_of_scope: str = ""
    #: Set -> ground and date on which it is kept (retention).
    retained: Mapping[str, str] | None = None
    #: Set, or "*" for all of it -> matter of the hold that keeps it.
    held: Mapping[str, str] | None = None
    horizon: PlannedHorizon | None = None

    @property
    def items(self) -> int:
        return sum(one.items for one in self.sets)


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """Everything an approver should know before saying yes."""

    request_id: str
    systems: tuple[SystemPlan, ...]
    #: Everything that was found; refusals forbid approval.
    findings: tuple[Finding, ...]

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity is Severity.REFUSAL)

    @property
    def items(self) -> int:
        return sum(one.items for one in self.systems)

    @property
    def wholly_held(self) -> bool:
        """Whether holds leave nothing to be deleted."""
        return bool(self.systems) and all("*" in (one.held or {}) for one in self.systems)

    def document(self) -> dict[str, Any]:
        """As JSON; `plan_of` reads it."""
        return {
            "request": self.request_id,
            "systems": [_system_document(one) for one in self.systems],
            "findings": [
                [f.code, f.severity.value, f.message, f.next_step, f.subject] for f in self.findings
            ],
        }

    @property
    def digest(self) -> str:
        """``sha256:`` and hex over `text`."""
        return "sha256:" + hashlib.sha256(self.text).hexdigest()

    @property
    def text(self) -> bytes:
        """The document with sorted keys, as it is digested."""
        text = json.dumps(self.document(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return text.encode()


def plan_of(document: Mapping[str, Any]) -> ErasurePlan:
    """The plan that `ErasurePlan.document` wrote."""
    findings = [Finding(c, Severity(s), m, n, about) for c, s, m, n, about in document["findings"]]
    return ErasurePlan(
        document["request"], tuple(_system_of(one) for one in document["systems"]), tuple(findings)
    )


def departures(
    approved: ErasurePlan,
    now: ErasurePlan,
    tolerance: float,
    planted: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
    """Why the plan of now is not what was approved, one sentence each; empty: within tolerance.

    ``planted``: sets that hold nothing but what we put there ourselves since, by system.
    """
    before = {one.system: one for one in approved.systems}
    after = {one.system: one for one in now.systems}
    found = [f"{name} is new" for name in after if name not in before]
    found += [f"{name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        ours = (planted or {}).get(name, ())
        found += [f"{name}: {why}" for why in _departures(before[name], after[name], tolerance, ours)]
    found += [f"refused now: {one.message}" for one in now.refusals]
    return sorted(found)


def _departures(
    before: SystemPlan, after: SystemPlan, tolerance: float, planted: Collection[str]
) -> list[str]:
    found = [
        f"{what} changed"
        for what, one, other in (
            ("required level", before.required, after.required),
            ("out of scope", before.out_of_scope, after.out_of_scope),
            ("unsupported", before.unsupported, after.unsupported),
            ("what is retained", before.retained or {}, after.retained or {}),
            ("what is held", before.held or {}, after.held or {}),
            ("horizon", before.horizon, after.horizon),
        )
        if one != other
    ]
    known = {(one.set, one.method): one.items for one in before.sets}
    for one in after.sets:
        items = known.get((one.set, one.method))
        if items is None and one.set not in planted:
            found.append(f"{one.set} by {one.method} is new")
        elif items is not None and one.items > items * (1 + tolerance) + _FREE_GROWTH:
            found.append(f"{one.set} grew from {items} to {one.items}")
    return found


def _system_document(one: SystemPlan) -> dict[str, Any]:
    return {
        "system": one.system,
        "kind": one.kind,
        "required": one.required.value,
        "sets": [[s.set, s.method.value, s.items, s.bytes] for s in one.sets],
        "digest": one.digest,
        "unsupported": one.unsupported,
        "out_of_scope": one.out_of_scope,
        "retained": dict(one.retained or {}),
        "held": dict(one.held or {}),
        "horizon": None
        if one.horizon is None
        else [one.horizon.level.value, one.horizon.days, one.horizon.source],
    }


def _system_of(value: Mapping[str, Any]) -> SystemPlan:
    horizon: Sequence[Any] | None = value["horizon"]
    return SystemPlan(
        value["system"],
        value["kind"],
        Level(value["required"]),
        tuple(SetCount(name, Method(method), items, size) for name, method, items, size in value["sets"]),
        value["digest"],
        value["unsupported"],
        value["out_of_scope"],
        value["retained"],
        value["held"],
        None if horizon is None else PlannedHorizon(Level(horizon[0]), horizon[1], horizon[2]),
    )
