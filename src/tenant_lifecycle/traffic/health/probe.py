"""Health by asking: a few requests of our own to each environment at every look, their statuses and times.

For tenants with so little traffic that nothing else says anything, and for what users do not do often. What
comes back with a status from 400, or not at all, is an error.
"""

from __future__ import annotations

import math
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health
from tenant_lifecycle.traffic.health.http_get import NoAnswer, send

#: Probes kept per tenant and environment.
MOST_PROBES = 10_000


@dataclass(frozen=True, slots=True)
class _Probe:
    at: float
    failed: bool
    took_ms: float


@dataclass
class ProbeHealth:
    """Probes of our own. Safe to use from several threads."""

    name: str
    #: By environment; ``{tenant}`` is filled with the tenant's id, percent-encoded.
    urls: Mapping[str, str] = field(repr=False)
    #: Requests at every look, one after the other.
    burst: int = 5
    timeout_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _probes: dict[tuple[TenantId, str], deque[_Probe]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def knows(self) -> frozenset[str]:
        """Fields of `Health` that a probe measures."""
        return frozenset({"requests", "errors", "p99_ms"})

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        """Probe now, and report every probe within the window."""
        url = self.urls.get(environment)
        if url is None:
            raise StoreRejected(
                f"{self.name}: no address of environment {environment!r}",
                store=self.name,
                next_step=f"add it to health.{self.name}.urls in lifecycle.yaml",
            )
        address = url.replace("{tenant}", urllib.parse.quote(tenant, safe=""))
        began = self.clock()
        found = [self._probe(address) for _ in range(self.burst)]
        with self._lock:
            kept = self._probes.setdefault((tenant, environment), deque(maxlen=MOST_PROBES))
            kept.extend(found)
            within = [probe for probe in kept if probe.at >= began - window_s]
        times = sorted(probe.took_ms for probe in within)
        return Health(
            requests=len(within),
            errors=sum(probe.failed for probe in within),
            p99_ms=times[math.ceil(0.99 * len(times)) - 1] if times else None,
        )

    def close(self) -> None:
        """Forget every probe."""
        with self._lock:
            self._probes.clear()

    def _probe(self, address: str) -> _Probe:
        at = self.clock()
        try:
            answer = send(address, self.timeout_s)
        except NoAnswer:
            return _Probe(at, True, self.timeout_s * 1e3)
        return _Probe(at, answer.status >= 400, answer.took_ms)
