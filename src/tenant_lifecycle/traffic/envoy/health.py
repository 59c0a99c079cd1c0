"""How an environment serves a tenant, by Envoy's counters: differences between looks that this source keeps.

Exact: requests and errors, between the two looks that are compared. Interpolated: the 99th percentile, inside
one of Envoy's bins, which are at most a tenth wide. Late: Envoy adds response times to its histograms when it
flushes (every 5 s unless told otherwise), so ``detail["timed"]`` may be behind ``requests``. ``detail["window_s"]``
is the time between the two looks: the first look at a tenant opens its window and reports nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health, Served
from tenant_lifecycle.traffic.envoy.counters import Timed, read_served, read_timed
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter

#: Looks kept per tenant and environment; when there are more, every second one of the older half goes.
_MOST_LOOKS = 256


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    served: Served
    timed: Timed


class EnvoyHealth:
    """The health source of one Envoy. Safe to use from several threads."""

    #: Silence about one of these is no pass.
    knows = frozenset({"requests", "p99_ms"})

    def __init__(self, router: EnvoyRouter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = router.name
        self._router = router
        self._clock = clock
        self._looks: dict[tuple[TenantId, str], deque[_Look]] = {}
        self._lock = threading.Lock()

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        """Since the youngest look that is at least ``window_s`` old; without one, since the oldest."""
        look = self._look(tenant, environment)
        with self._lock:
            looks = self._looks.setdefault((tenant, environment), deque())
            if looks and looks[-1].served.requests > look.served.requests:
                # Envoy was restarted, and what was counted before belongs to another one.
                looks.clear()
            looks.append(look)
            earlier = _start(looks, look.at - window_s)
            _thin(looks)
        return _difference(earlier, look)

    def close(self) -> None:
        """Forget every look."""
        with self._lock:
            self._looks.clear()

    def _look(self, tenant: TenantId, environment: str) -> _Look:
        admin, targets = self._router.admin, self._router.targets
        served = read_served(admin, targets, tenant).get(environment, Served())
        return _Look(self._clock(), served, read_timed(admin, targets, tenant, environment))


def _start(looks: deque[_Look], wanted: float) -> _Look:
    old = [look for look in looks if look.at <= wanted]
    return old[-1] if old else looks[0]


def _thin(looks: deque[_Look]) -> None:
    if len(looks) > _MOST_LOOKS:
        kept = list(looks)
        half = len(kept) // 2
        looks.clear()
        looks.extend([*kept[:half:2], *kept[half:]])


def _difference(earlier: _Look, now: _Look) -> Health:
    timed = now.timed.since(earlier.timed)
    return Health(
        requests=now.served.requests - earlier.served.requests,
        errors=now.served.errors - earlier.served.errors,
        p99_ms=timed.quantile(0.99),
        detail={
            "window_s": now.at - earlier.at,
            "timed": float(timed.total),
            "p50_ms": timed.quantile(0.5) or 0.0,
            "writes": float(now.served.writes - earlier.served.writes),
        },
    )
