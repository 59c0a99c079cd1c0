"""Look whether routers do what they were asked to: read back what is set, and count what is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Router, Served
from tenant_lifecycle.traffic.drift import (
    CheckRules,
    Counted,
    config_drift,
    count,
    restarted,
    route_text,
    served_drift,
)


@dataclass(slots=True)
class Checked:
    """One tenant in one router: what was seen, and what is to be said of it."""

    router: str
    tenant: TenantId | None
    intended: Route | None = None
    written: Route | None = None
    actual: Route | None = None
    counted: list[Counted] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    _before: Mapping[str, Served] = field(default_factory=dict)


def check_traffic(
    routers: Sequence[Router],
    tenants: Sequence[TenantId] | None,
    rules: CheckRules,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> list[Checked]:
    """Look twice, ``rules.window_s`` apart; one result per router and tenant. Changes nothing.

    None for ``tenants`` means everybody who has a route in the router, or should have one. A router that does
    not answer gives a finding, never an error; a window of 0 looks at the configuration only.
    """
    looks = [(router, checked) for router in routers for checked in _first_look(router, tenants)]
    to_count = [
        (router, checked) for router, checked in looks if checked.intended and not _unanswered(checked)
    ]
    if rules.window_s > 0 and to_count:
        pause(rules.window_s)
        for router, checked in to_count:
            _second_look(router, checked, rules)
    for _, checked in looks:
        if not checked.findings:
            checked.findings.append(_in_order(checked))
    return [checked for _, checked in looks]


def _first_look(router: Router, tenants: Sequence[TenantId] | None) -> list[Checked]:
    try:
        found = router.routed() if tenants is None else tenants
    except LifecycleError as error:
        return [Checked(router.name, None, findings=[_failed(router, error)])]
    return [_read(router, tenant) for tenant in found]


def _read(router: Router, tenant: TenantId) -> Checked:
    checked = Checked(router.name, tenant)
    try:
        checked.intended = router.intended(tenant)
        checked.written = router.written(tenant)
        checked.actual = router.actual(tenant)
        checked._before = router.served(tenant)
    except LifecycleError as error:
        checked.findings.append(_failed(router, error))
        return checked
    checked.findings += config_drift(router.name, checked.intended, checked.written, checked.actual)
    return checked


def _second_look(router: Router, checked: Checked, rules: CheckRules) -> None:
    assert checked.tenant is not None and checked.intended is not None, "there is nothing to count"
    try:
        now, after = router.intended(checked.tenant), router.served(checked.tenant)
    except LifecycleError as error:
        checked.findings.append(_failed(router, error))
        return
    if now != checked.intended:
        checked.findings.append(_not_judged(router, "the route was changed meanwhile"))
    elif not router.counts:
        checked.findings.append(_not_judged(router, "this kind of router does not count requests"))
    elif restarted(checked._before, after):
        checked.findings.append(_not_judged(router, "its counters began anew meanwhile"))
    else:
        checked.counted = count(now, checked._before, after, rules)
        checked.findings += served_drift(router.name, now, checked.counted, rules)


def _unanswered(checked: Checked) -> bool:
    return any(finding.code in ("traffic.unreachable", "traffic.refused") for finding in checked.findings)


def _failed(router: Router, error: LifecycleError) -> Finding:
    code = "traffic.unreachable" if error.retryable else "traffic.refused"
    return Finding(code, Severity.REFUSAL, str(error), error.next_step, router.name)


def _not_judged(router: Router, why: str) -> Finding:
    message = f"what was served is not judged: {why}"
    return Finding("traffic.not-judged", Severity.WARNING, message, "look again", router.name)


def _in_order(checked: Checked) -> Finding:
    message = route_text(checked.actual)
    if checked.counted:
        parts = (f"{one.environment} {one.reads} reads and {one.writes} writes" for one in checked.counted)
        message += f"; served: {', '.join(parts)}"
    return Finding("traffic.as-intended", Severity.OK, message, "", checked.router)
