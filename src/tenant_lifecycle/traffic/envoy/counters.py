"""What Envoy counts per tenant and environment: a statistics tree of its own for each routed tenant.

A tenant's routes have requests carry a name into Envoy's router, which keeps a second tree of counters under
that name inside each cluster (``x-envoy-upstream-alt-stat-name``). So requests are counted per tenant,
environment and kind, for tenants with a route of their own and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Served
from tenant_lifecycle.traffic.envoy.admin import Admin
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import tenant_digest

#: The filter that gives requests the name, and the header that carries it.
FILTER, NAME_HEADER = "envoy.filters.http.header_mutation", "x-envoy-upstream-alt-stat-name"
READ, WRITE = "r", "w"


def tree_name(tenant: TenantId, kind: str) -> str:
    """The name of one tenant's tree: a digest, so no id can break or forge another one."""
    return f"tl_{tenant_digest(tenant)}_{kind}"


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a histogram of milliseconds; Envoy's are at most a tenth of their lower bound wide."""

    lower_ms: float
    width_ms: float


@dataclass(slots=True)
class Timed:
    """How long answers took since Envoy started, reads and writes together."""

    counts: dict[Bin, int] = field(default_factory=dict)

    def since(self, earlier: Timed) -> Timed:
        """What came after an earlier look."""
        grown = {bin: count - earlier.counts.get(bin, 0) for bin, count in self.counts.items()}
        return Timed({bin: count for bin, count in grown.items() if count > 0})

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Milliseconds that so much of the answers stayed within; None without answers.

        The bin is exact, the place inside it interpolated: off by a tenth at most.
        """
        wanted, seen = share * self.total, 0
        for bin, count in sorted(self.counts.items(), key=lambda item: item[0].lower_ms):
            if seen + count >= wanted:
                return bin.lower_ms + bin.width_ms * (wanted - seen) / count
            seen += count
        return None


def read_served(admin: Admin, targets: Targets, tenant: TenantId) -> dict[str, Served]:
    """What every environment served, by environment; empty if nothing was ever counted."""
    names = _names(targets, tenant, targets.by_environment)
    tail = r"upstream_rq_(completed|5xx)"
    counts: dict[tuple[str, str, str], int] = {}
    for entry in admin.stats(_pattern(names, tail)):
        if "value" in entry:
            stem, _, counter = str(entry["name"]).rpartition(".")
            counts[(*names[stem], counter.removeprefix("upstream_rq_"))] = int(entry["value"])
    return {
        environment: Served(
            requests=sum(counts.get((environment, kind, "completed"), 0) for kind in (READ, WRITE)),
            errors=sum(counts.get((environment, kind, "5xx"), 0) for kind in (READ, WRITE)),
            writes=counts.get((environment, WRITE, "completed"), 0),
        )
        for environment in (targets.by_environment if counts else ())
    }


def read_timed(admin: Admin, targets: Targets, tenant: TenantId, environment: str) -> Timed:
    """How long one environment's answers took. Envoy adds to it every few seconds (its flush interval)."""
    names = _names(targets, tenant, [environment])
    timed = Timed()
    for entry in admin.stats(_pattern(names, "upstream_rq_time"), histogram_buckets="detailed"):
        for detail in entry.get("histograms", {}).get("details", []):
            _add(timed, detail.get("totals", []))
    return timed


def _add(timed: Timed, totals: list[dict[str, Any]]) -> None:
    for total in totals:
        bin = Bin(float(total["lower_bound"]), float(total["width"]))
        timed.counts[bin] = timed.counts.get(bin, 0) + int(total["count"])


def _names(targets: Targets, tenant: TenantId, environments: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Stem of the counters' names -> environment and kind. Envoy writes ``_`` for ``:`` in them."""
    return {
        f"cluster.{targets.target(name).replace(':', '_')}.{tree_name(tenant, kind)}": (name, kind)
        for name in environments
        for kind in (READ, WRITE)
    }


def _pattern(stems: Iterable[str], tail: str) -> str:
    return rf"^({'|'.join(re.escape(stem) for stem in stems)})\.{tail}$"
