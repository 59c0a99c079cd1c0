"""Planning an erasure: what would go, system by system, and everything that forbids it. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tenant_lifecycle.errors import LifecycleError, PreconditionRefused
from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.manifest import Method, SetCount, digest_of
from tenant_lifecycle.model.erasure.plan import ErasurePlan, PlannedHorizon, SystemPlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import Request
from tenant_lifecycle.model.findings import Finding, Severity, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase import keeping
from tenant_lifecycle.operations.erase.systems import System
from tenant_lifecycle.stores.erasing import Erases, Horizon

_DAY_S = 86400.0


def plan_erasure(
    request: Request, systems: Sequence[System], policy: ErasurePolicy, holds: Sequence[Hold], now: float
) -> ErasurePlan:
    """The plan, with every refusal in it; ``holds`` are those that block something of the tenant now."""
    findings: list[Finding] = []
    planned = [_plan_system(one, request, policy, holds, now, findings) for one in systems]
    findings += _kept_findings(request, systems, planned, policy, holds, now)
    findings += [
        _unknown_system(name) for name in sorted(request.out_of_scope.keys() - {s.name for s in systems})
    ]
    if not any(one.items for one in planned) and not refusals(findings):
        findings.append(_nothing())
    if request.deadline.latest_safe_start([policy.settle_s], policy.margin_s) < now:
        findings.append(_too_late(request, now))
    plan = ErasurePlan(request.id, tuple(planned), tuple(findings))
    if plan.wholly_held:
        held = Finding(
            "erase.held", Severity.REFUSAL, f"{len(holds)} hold(s) keep all of it", "tenantctl hold list"
        )
        plan = ErasurePlan(request.id, plan.systems, (*plan.findings, held))
    return plan


def _plan_system(
    system: System,
    request: Request,
    policy: ErasurePolicy,
    holds: Sequence[Hold],
    now: float,
    findings: list[Finding],
) -> SystemPlan:
    required = policy.required_of(system.kind)
    reason = request.out_of_scope.get(system.name, "")
    if reason:
        findings.append(
            Finding("erase.out-of-scope", Severity.WARNING, f"out of scope: {reason}", "", system.name)
        )
        return SystemPlan(system.name, system.kind, required, out_of_scope=reason)
    if system.unsupported:
        findings.append(_unsupported(system))
    store = system.erases
    sets, digest, horizon = _count(system, store, request.tenant, findings) if store else ((), "", None)
    return SystemPlan(
        system.name,
        system.kind,
        required,
        sets,
        digest,
        system.unsupported,
        retained=keeping.retained(sets, system.name, policy, now),
        held=keeping.held(sets, system.name, holds),
        horizon=None if horizon is None else PlannedHorizon(horizon.level, horizon.days, horizon.source),
    )


def _kept_findings(
    request: Request,
    systems: Sequence[System],
    planned: Sequence[SystemPlan],
    policy: ErasurePolicy,
    holds: Sequence[Hold],
    now: float,
) -> list[Finding]:
    """Whether what is to be kept is there, and can be kept without the rest."""
    if not policy.retention and not any(hold.sets for hold in holds):
        return []
    findings: list[Finding] = []
    named = []
    for system, plan in zip(systems, planned, strict=True):
        store = system.erases
        if store is None or plan.out_of_scope:
            continue
        try:
            sets = keeping.sets_of(system, store, plan.sets, request.tenant)
        except LifecycleError as error:
            findings.append(_refused(system, error))
            continue
        named.append(sets)
        findings += keeping.torn(plan, sets)
    return [*findings, *keeping.misnamed(policy, holds, named, now)]


def _count(
    system: System, store: Erases, tenant: TenantId, findings: list[Finding]
) -> tuple[tuple[SetCount, ...], str, Horizon | None]:
    """Count what would go; what stands in the way becomes findings."""
    horizon = None
    sets: dict[tuple[str, Method], SetCount] = {}
    digests = []
    try:
        findings += store.erasure_findings(tenant)
        for batch in store.doomed(tenant, lambda: None):
            known = sets.get((batch.set, batch.method), SetCount(batch.set, batch.method, 0, 0))
            sets[batch.set, batch.method] = SetCount(
                batch.set, batch.method, known.items + len(batch.keys), known.bytes + batch.bytes
            )
            digests.append(batch.digest())
        horizon = store.horizon()
    except PreconditionRefused as error:
        findings += error.findings or [_refused(system, error)]
    except LifecycleError as error:
        findings.append(_refused(system, error))
    return tuple(sets.values()), digest_of(digests), horizon


def _too_late(request: Request, now: float) -> Finding:
    days = (request.deadline.due_at - now) / _DAY_S
    said = f"due in {days:.1f} days" if days >= 0 else f"overdue by {-days:.1f} days"
    return Finding(
        "erase.late", Severity.WARNING, f"the latest safe start has passed ({said})",
        f"start at once, or: tenantctl erase extend {request.id}",
    )  # fmt: skip


def _unsupported(system: System) -> Finding:
    return Finding(
        "erase.unsupported", Severity.WARNING, f"{system.unsupported}; the erasure cannot become complete",
        "write a plug-in, or declare it out of scope with a reason", system.name,
    )  # fmt: skip


def _refused(system: System, error: LifecycleError) -> Finding:
    return Finding("erase.unreadable", Severity.REFUSAL, str(error), error.next_step, system.name)


def _unknown_system(name: str) -> Finding:
    return Finding(
        "erase.out-of-scope", Severity.REFUSAL, f"{name!r} is declared out of scope, and there is no such system",
        "name it as tenantctl erase plan shows it",
    )  # fmt: skip


def _nothing() -> Finding:
    return Finding(
        "erase.nothing", Severity.REFUSAL, "no system holds anything of that tenant: is the id right?",
        "tenantctl tenant list",
    )  # fmt: skip
