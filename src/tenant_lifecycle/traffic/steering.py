"""Every router and every health source of an installation, used as one.

A route counts as set when every router has it; a router that does not answer is tried again by the caller,
while the others already obey. Sources are asked at once and none is waited for longer than `PATIENCE_S`, so
that a source that hangs does not delay what another one knows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.health import Reading
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import HealthSource, Route, Router

#: So long one look waits for the slowest source, seconds.
PATIENCE_S = 2.0


@dataclass
class Steering:
    """Routers and health sources; safe to use from several threads."""

    routers: Sequence[Router]
    sources: Sequence[HealthSource]
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(16, thread_name_prefix="steering"), repr=False
    )
    #: Questions that were not answered in time, by source: none is asked twice at once.
    _asked: dict[str, Future[Reading]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def route(self, route: Route) -> None:
        """Have the route on every router; on return every router acts on it.

        Raises:
            StoreError: a router does not have it; the others do.
        """
        pending = [self._pool.submit(router.set_route, route) for router in self.routers]
        failed = [error for one in pending if (error := one.exception()) is not None]
        if failed:
            # One that will not help itself is the news; one that does not answer is tried again.
            raise next((e for e in failed if not getattr(e, "retryable", False)), failed[0])

    def check(self, tenant: TenantId) -> list[Finding]:
        """Compare, router by router, what is written down for the tenant with what the router does."""
        return [finding for router in self.routers for finding in _drift(router, tenant)]

    def probe(self) -> list[Finding]:
        """Whether every router can be read and told."""
        return [finding for router in self.routers for finding in router.probe()]

    def health(self, tenant: TenantId, target: str, other: str, window_s: float) -> list[Reading]:
        """What every source says of both environments; one that does not answer says why instead."""
        late = f"no answer within {PATIENCE_S:.0f} s"
        asked: dict[str, Future[Reading] | None] = {}
        with self._lock:
            for source in self.sources:
                before = self._asked.get(source.name)
                if before is not None and not before.done():
                    # It still works on an older question; that answer is about another window.
                    asked[source.name] = None
                    continue
                asked[source.name] = self._asked[source.name] = self._pool.submit(
                    _read, source, tenant, target, other, window_s
                )
        wait([future for future in asked.values() if future is not None], timeout=PATIENCE_S)
        return [
            future.result() if future is not None and future.done() else Reading(name, why=late)
            for name, future in asked.items()
        ]

    def close(self) -> None:
        """Give back every connection; safe to repeat."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for router in self.routers:
            router.close()
        for source in self.sources:
            source.close()


def _drift(router: Router, tenant: TenantId) -> list[Finding]:
    subject = router.name
    try:
        intended, actual = router.intended(tenant), router.actual(tenant)
    except LifecycleError as error:
        return [Finding("traffic.unreadable", Severity.REFUSAL, str(error), error.next_step, subject)]
    if intended == actual:
        return [Finding("traffic.route", Severity.OK, "it does what is written down", subject=subject)]
    return [
        Finding(
            "traffic.drift", Severity.REFUSAL,
            f"it should send {_said(intended)}, and sends {_said(actual)}",
            "set the route again, and find out who changed it", subject,
        )
    ]  # fmt: skip


def _said(route: Route | None) -> str:
    if route is None:
        return "no route of its own"
    shares = ", ".join(f"{percent} % to {name}" for name, percent in sorted(route.share.items()))
    return f"{shares}, writes to {route.writer}"


def _read(source: HealthSource, tenant: TenantId, target: str, other: str, window_s: float) -> Reading:
    """Both sides from one source, the second with a window that begins at the same moment."""
    began = time.monotonic()
    try:
        here = source.health(tenant, target, window_s)
        there = source.health(tenant, other, window_s + (time.monotonic() - began))
    except LifecycleError as error:
        return Reading(source.name, why=str(error))
    except Exception as error:
        # A stranger's source: what it raises is no reason to stop watching with the others.
        return Reading(source.name, why=f"unexpected {type(error).__name__}")
    # A source may say what it was set up to know; one that does not is taken by what it answers.
    knows = frozenset(getattr(source, "knows", ()))
    return Reading(source.name, here, there, knows=knows)
