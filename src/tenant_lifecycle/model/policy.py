"""Rules a migration follows, from ``lifecycle.yaml``; every field has a default that is safe in production."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.gates import GatePolicy
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.model.window import WindowPolicy


@dataclass(frozen=True, slots=True)
class ProvisionHook:
    """What makes the target environment before we look at it; both empty: it is there already."""

    #: A command and its arguments; runs with TENANT, SOURCE, TARGET and OPERATION in its environment.
    command: tuple[str, ...] = ()
    #: A folder that ``terraform apply`` is run in, with the variables tenant, source_env and target_env.
    terraform: str = ""
    timeout_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class MigrationPolicy:
    """How careful, how fast, how long to wait."""

    cutover: Cutover = Cutover.AUTO
    #: How long the old side is kept, ready for a rollback, before it is emptied.
    settle_s: float = 24 * 3600.0
    #: Parallel copy workers, 1 to 16.
    workers: int = 4
    #: A verification older than this is done again before a flip.
    verification_max_age_s: float = 24 * 3600.0
    #: Differing items that may be repaired before a person must look.
    max_repairs: int = 100
    flip: FlipBudget = field(default_factory=FlipBudget)
    provision: ProvisionHook = field(default_factory=ProvisionHook)
    #: Percent of the requests that the target serves, step by step, before it becomes the writer and serves
    #: all of them. Empty: all at once. Without a router there are no steps.
    cutover_steps: tuple[int, ...] = (10, 25, 50)
    gates: GatePolicy = field(default_factory=GatePolicy)
    strategy: Strategy = Strategy.ZERO_DOWNTIME
    #: Who chose the strategy, for the plan.
    strategy_why: str = "nothing else is configured"
    window: WindowPolicy = field(default_factory=WindowPolicy)


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """What a person chose for one migration; None means as the tenant's tier and the policies say."""

    cutover: Cutover | None = None
    settle_s: float | None = None
    workers: int | None = None
    cutover_steps: tuple[int, ...] | None = None
    #: HYBRID: as the tenant's tier says, which is also what None means.
    strategy: Strategy | None = None
    #: As in `WindowPolicy`; ``now``: at once, whatever the policy says.
    window_opens: str | None = None
    window_s: float | None = None

    def over(self, policy: MigrationPolicy) -> MigrationPolicy:
        """The policy with what was chosen."""
        named = None if self.strategy is Strategy.HYBRID else self.strategy
        window = WindowPolicy(
            policy.window.opens if self.window_opens is None else self.window_opens,
            policy.window.seconds if self.window_s is None else self.window_s,
        )
        chosen = {
            "window": window,
            "cutover": self.cutover,
            "settle_s": self.settle_s,
            "workers": self.workers,
            "cutover_steps": self.cutover_steps,
            "strategy": named,
            "strategy_why": None if named is None else "chosen for this migration",
        }
        changes: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        return replace(policy, **changes)
