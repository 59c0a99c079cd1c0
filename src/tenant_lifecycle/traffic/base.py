"""The contracts of routers and of health sources.

A router sends requests of a tenant to environments. Requests that write go to the one writer; the others are
shared out by a stable hash of the session, so that a session sees one environment for as long as the shares
stay, and only moves towards the target while they grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.health import Health
from tenant_lifecycle.model.names import TenantId

__all__ = ["Health", "HealthSource", "Route", "Router", "Served"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where one tenant's requests go."""

    tenant: TenantId
    #: The environment that gets requests that write.
    writer: str
    #: Percent of the sessions whose other requests each environment gets; whole numbers that add up to 100.
    #: Environments without one are left out, so equal routes are equal values.
    share: Mapping[str, int]

    def __post_init__(self) -> None:
        if sum(self.share.values()) != 100 or any(percent < 0 for percent in self.share.values()):
            raise ValueError(f"shares {dict(self.share)} do not add up to 100")
        object.__setattr__(self, "share", {name: p for name, p in sorted(self.share.items()) if p})


@dataclass(frozen=True, slots=True)
class Served:
    """Requests of one tenant that one environment answered, since the router started."""

    requests: int = 0
    #: Answers of the 5xx kind, and requests without an answer.
    errors: int = 0
    #: How many of the requests were writes; the others are what shares are about.
    writes: int = 0

    @property
    def reads(self) -> int:
        return self.requests - self.writes


class Router(Protocol):
    """One router, reached over its own control interface. Safe to use from several threads."""

    #: Its name in ``lifecycle.yaml``, and its kind: ``envoy``, ``haproxy``, ``route53``.
    name: str
    kind: str
    #: Whether it counts what it serves, per tenant and environment.
    counts: bool

    def probe(self) -> list[Finding]:
        """Look whether it can be read and told; never raises for what it finds."""

    def set_route(self, route: Route) -> None:
        """Have the route; returns when the running router acts on it. It survives the router's restart.

        Raises:
            StoreUnavailable: the router does not answer; what is written down is in effect when it does.
            StoreRejected: it answered and refused.
        """

    def clear_route(self, tenant: TenantId) -> None:
        """Send the tenant where requests without a route go. Idempotent."""

    def routed(self) -> list[TenantId]:
        """Who has a route: asked for, written down, or, if the router answers, in effect. In order."""

    def intended(self, tenant: TenantId) -> Route | None:
        """What was asked for last, by our own record; None: nothing, or it was taken away."""

    def written(self, tenant: TenantId) -> Route | None:
        """What the router's own files say: the route it will have after a restart; None if there is none."""

    def actual(self, tenant: TenantId) -> Route | None:
        """What the running router says it does; None if it has no route for the tenant.

        Raises:
            StoreUnavailable: it does not answer.
        """

    def served(self, tenant: TenantId) -> Mapping[str, Served]:
        """What was counted, by environment; empty if this kind of router, or this tenant, is not counted.

        Counters begin anew when the router does: one that became smaller says that they did.

        Raises:
            StoreUnavailable: it does not answer.
        """

    def close(self) -> None:
        """Give back connections; safe to repeat."""


class HealthSource(Protocol):
    """Something that knows how an environment does: a router's counters, Prometheus, a probe, a query."""

    name: str

    def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
        """The last ``window_s`` seconds, as exactly as the source can.

        Raises:
            StoreUnavailable: it does not answer; a gate takes that for inconclusive, never for a pass.
        """

    def close(self) -> None:
        """Give back connections; safe to repeat."""
