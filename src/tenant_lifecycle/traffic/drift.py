"""Drift: a router that does something else than it was asked to. Pure decisions over what was read and counted.

Configuration is compared exactly, three ways: what was asked for, what the router's files say, what the running
router says. Counts are compared with the shares by a bound: a share outside it comes about by chance less often
than once in a million looks, if the route is in effect. The bound is Chernoff's, which holds for any number of
requests; since requests of one session go one way together, so many requests count as one draw
(``requests_per_session``). Shares of 0 and 100, and the writer, leave nothing to chance: one request is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.traffic.base import Route, Served


@dataclass(frozen=True, slots=True)
class CheckRules:
    """How long to look, and when what was counted says something."""

    #: Seconds between the two looks at the counters.
    window_s: float = 10.0
    #: Fewer reads than this, over all environments, are not judged.
    minimum_reads: int = 200
    #: How many reads one session makes in a window, about.
    requests_per_session: float = 10.0
    #: How often a route in effect may look like drift.
    chance: float = 1e-6
    #: Requests that may still come in by an earlier route where there should be none.
    stragglers: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What one environment served between two looks, beside what it should have."""

    environment: str
    #: Percent of the reads that it should have.
    expected: int
    reads: int
    writes: int
    errors: int
    #: Its part of all reads, 0 to 1; None if there were none.
    share: float | None
    #: Within which that part must be; None if there were too few reads to say.
    low: float | None
    high: float | None


def route_text(route: Route | None) -> str:
    """A route in one line, for findings."""
    if route is None:
        return "no route"
    shares = ", ".join(f"{name} {percent} %" for name, percent in route.share.items())
    return f"writer {route.writer}, {shares}"


def config_drift(
    router: str, intended: Route | None, written: Route | None, actual: Route | None
) -> list[Finding]:
    """Findings where the three differ; none where they do not."""
    found = []
    mend = "tenantctl traffic set puts the route back; then find out who changed it"
    if actual != intended:
        message = f"it does {route_text(actual)}; asked for was {route_text(intended)}"
        found.append(Finding("traffic.drift-config", Severity.REFUSAL, message, mend, router))
    if written != intended and written != actual:
        message = f"after a restart it would do {route_text(written)}; asked for was {route_text(intended)}"
        found.append(Finding("traffic.drift-config", Severity.REFUSAL, message, mend, router))
    elif written != intended:
        message = f"its file says {route_text(written)} too, so a restart does not mend it"
        found.append(Finding("traffic.drift-config", Severity.REFUSAL, message, mend, router))
    return found


def restarted(before: Mapping[str, Served], after: Mapping[str, Served]) -> bool:
    """Whether counters began anew between two looks."""
    none = Served()
    return any(
        after.get(name, none).reads < then.reads or after.get(name, none).writes < then.writes
        for name, then in before.items()
    )


def count(
    route: Route, before: Mapping[str, Served], after: Mapping[str, Served], rules: CheckRules
) -> list[Counted]:
    """What every environment served between two looks, with the bounds of its share."""
    none = Served()
    names = sorted({*route.share, route.writer, *after})
    reads = {name: after.get(name, none).reads - before.get(name, none).reads for name in names}
    total = sum(reads.values())
    result = []
    for name in names:
        then, now = before.get(name, none), after.get(name, none)
        expected = route.share.get(name, 0)
        judged = total >= max(1, rules.minimum_reads)
        low, high = bounds(expected / 100, total, rules) if judged else (None, None)
        result.append(
            Counted(
                name,
                expected,
                reads[name],
                now.writes - then.writes,
                now.errors - then.errors,
                reads[name] / total if total else None,
                low,
                high,
            )
        )
    return result


def served_drift(router: str, route: Route, counted: list[Counted], rules: CheckRules) -> list[Finding]:
    """Findings where the counts contradict the route, or are too few to say."""
    found = []
    total = sum(one.reads for one in counted)
    for one in counted:
        if one.environment != route.writer and one.writes > rules.stragglers:
            message = f"{one.writes} writes went to {one.environment}; the writer is {route.writer}"
            found.append(_drifted(router, message))
        if one.expected == 0 and one.reads > rules.stragglers:
            message = f"{one.environment} served {one.reads} of {total} reads; its share is 0 %"
            found.append(_drifted(router, message))
        elif _outside(one):
            message = (
                f"{one.environment} served {one.reads} of {total} reads, {100 * (one.share or 0):.2f} %; its share "
                f"is {one.expected} %, and with so many reads {100 * (one.low or 0):.2f} % to "
                f"{100 * (one.high or 0):.2f} % may come about by chance"
            )
            found.append(_drifted(router, message))
    if not found and total < rules.minimum_reads:
        message = f"{total} reads were counted, {rules.minimum_reads} are needed to judge the shares"
        found.append(
            Finding(
                "traffic.not-judged", Severity.WARNING, message, "look again, or longer: --window", router
            )
        )
    return found


def bounds(expected: float, reads: int, rules: CheckRules) -> tuple[float, float]:
    """The parts, 0 to 1, that an environment with this share may have had of so many reads by chance."""
    if expected in (0.0, 1.0):
        return expected, expected
    draws = reads / max(1.0, rules.requests_per_session)
    limit = math.log(2 / rules.chance) / draws
    return _furthest(expected, 0.0, limit), _furthest(expected, 1.0, limit)


def _furthest(expected: float, end: float, limit: float) -> float:
    """The part between ``expected`` and ``end`` whose divergence from ``expected`` is ``limit``, or ``end``."""
    if _divergence(end, expected) <= limit:
        return end
    inside, outside = expected, end
    for _ in range(60):
        middle = (inside + outside) / 2
        if _divergence(middle, expected) <= limit:
            inside = middle
        else:
            outside = middle
    return inside


def _divergence(seen: float, expected: float) -> float:
    """Kullback-Leibler divergence of two coins."""
    first = seen * math.log(seen / expected) if seen > 0 else 0.0
    second = (1 - seen) * math.log((1 - seen) / (1 - expected)) if seen < 1 else 0.0
    return first + second


def _outside(one: Counted) -> bool:
    if one.share is None or one.low is None or one.high is None or one.expected == 0:
        return False
    # A share of all is judged by the others, which must have nothing.
    return one.expected < 100 and not one.low <= one.share <= one.high


def _drifted(router: str, message: str) -> Finding:
    return Finding(
        "traffic.drift-served",
        Severity.REFUSAL,
        message,
        "look for requests that go past this router, a second router, or tenant headers that differ",
        router,
    )
