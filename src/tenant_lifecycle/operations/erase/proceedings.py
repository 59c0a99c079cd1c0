"""Everything that is known of an erasure when a certificate is to be issued: frozen, and gathered in one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.outcome import Evidence, Outcome
from tenant_lifecycle.model.erasure.people import Approval
from tenant_lifecycle.model.erasure.plan import ErasurePlan, SystemPlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import Request
from tenant_lifecycle.model.operation import Outputs


@dataclass(frozen=True, slots=True)
class Proceedings:
    """What was asked, planned, approved, done and seen."""

    operation_id: str
    request: Request
    #: The plan that was approved.
    plan: ErasurePlan
    #: Those that counted when it began.
    approvals: tuple[Approval, ...]
    #: Those that block something of the tenant now.
    holds: tuple[Hold, ...]
    policy: ErasurePolicy
    #: What the steps noted.
    outputs: Outputs
    #: The round that was judged.
    round: int
    #: By system.
    evidence: Mapping[str, Evidence]
    outcomes: tuple[Outcome, ...]
    #: Seconds since 1970, the control database's clock.
    now: float

    def planned(self, system: str) -> SystemPlan:
        """What was approved for a system."""
        return next(one for one in self.plan.systems if one.system == system)

    def output(self, what: str, system: str, number: int | None = None) -> Mapping[str, Any]:
        """What a step of a round (by default the judged one) noted of a system; empty if it did not run."""
        return self.outputs.get(f"{what}/{number or self.round}/{system}", {})

    def outputs_of(self, what: str, system: str) -> list[Mapping[str, Any]]:
        """The same of every round so far, oldest first."""
        return [self.output(what, system, number) for number in range(1, self.round + 1)]

    def looks(self, system: str) -> list[Mapping[str, Any]]:
        """Everything that was noted of every search of a system in every round, oldest first."""
        found = [
            output if key.startswith("look/") else output.get("looks", {}).get(system, {})
            for key, output in self.outputs.items()
            if key.startswith(("rescan/", "age/"))
            or (key.startswith("look/") and key.split("/", 3)[3] == system)
        ]
        return sorted((one for one in found if one), key=lambda one: float(one["at"]))
