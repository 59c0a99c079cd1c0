"""A tenant's route as entries of an Envoy route configuration, and back.

::

    x-tenant-id = acme, method POST PUT PATCH DELETE   -> the writer's cluster
    x-tenant-id = acme, x-tenant-write = 1             -> the writer's cluster
    x-tenant-id = acme                                 -> clusters by weight, chosen by the session's hash

Ours stand first in the virtual host, so that what the operator wrote behind them goes on for everybody else.
Everything but the choice of the cluster (time-outs, retries, rewrites) is lent by the operator's own
catch-all routes: one for requests that write, if there is one, and one for all. Entries are read back strictly: what is not exactly as we write it, is no route of ours.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.envoy.counters import FILTER, NAME_HEADER, READ, WRITE, tree_name
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import (
    SESSION_HEADER,
    TENANT_HEADER,
    WRITE_HEADER,
    WRITE_METHODS,
    decode_tenant,
    encode_tenant,
)

Entry = dict[str, Any]
_OURS = "tenant-lifecycle/"
#: The keys of a route action that say which cluster, and by which hash.
_CHOICE = (
    "cluster", "cluster_header", "weighted_clusters", "cluster_specifier_plugin", "inline_cluster_specifier_plugin",
    "hash_policy",
)  # fmt: skip
_METHODS: Entry = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(WRITE_METHODS)}}}
_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"


@dataclass(frozen=True, slots=True)
class Shape:
    """How this installation's routes are written."""

    targets: Targets
    #: The cookie that names the session where the header is missing.
    cookie: str

    def entries(self, route: Route, lenders: Mapping[str, Entry]) -> list[Entry]:
        """The route as entries, in the order that counts; ``lenders`` as `lenders` finds them."""
        writer = {"cluster": self.targets.target(route.writer)}
        return [
            self._entry(route, kind, match, choice, lenders)
            for (kind, match), choice in zip(
                _matches(route.tenant).items(), (writer, writer, self._reads(route)), strict=True
            )
        ]

    def route(self, tenant: TenantId, routes: Iterable[Entry]) -> Route | None:
        """The tenant's route among a virtual host's; None if there is none, or one that we would not write."""
        found = [entry for entry in _ours(routes) if is_of(entry, tenant)]
        route = self._guess(tenant, found)
        if route is None or [_choice(entry) for entry in self.entries(route, {})] != [
            _choice(entry) for entry in found
        ]:
            return None
        return route

    def _entry(
        self, route: Route, kind: str, match: Entry, choice: Entry, lenders: Mapping[str, Entry]
    ) -> Entry:
        purpose = READ if kind == "read" else WRITE
        lent = copy.deepcopy(lenders.get(purpose, {}))
        action = {key: value for key, value in lent.pop("route", {}).items() if key not in _CHOICE}
        tree = tree_name(route.tenant, purpose)
        mutation = {
            "header": {"key": NAME_HEADER, "value": tree},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        per_filter = {"@type": _PER_ROUTE, "mutations": {"request_mutations": [{"append": mutation}]}}
        name = f"{_OURS}{encode_tenant(route.tenant)}/{kind}"
        filters = {**lent.pop("typed_per_filter_config", {}), FILTER: per_filter}
        return {
            **lent,
            "name": name,
            "match": match,
            "route": {**action, **choice},
            "typed_per_filter_config": filters,
        }

    def _reads(self, route: Route) -> Entry:
        intervals = self.targets.intervals(route)
        if len(intervals) == 1:
            # Not by weight: a weight of all can be overruled where clusters are not healthy.
            return {"cluster": intervals[0][0]}
        return {
            "weighted_clusters": {
                "clusters": [{"name": target, "weight": percent} for target, percent in intervals],
                "use_hash_policy": True,
            },
            "hash_policy": [
                {"header": {"header_name": SESSION_HEADER}, "terminal": True},
                {"cookie": {"name": self.cookie}, "terminal": True},
            ],
        }

    def _guess(self, tenant: TenantId, entries: list[Entry]) -> Route | None:
        """The route whose entries these could be."""
        if len(entries) != len(_matches(tenant)):
            return None
        first, last = (entries[at].get("route", {}) for at in (0, -1))
        weighted = last.get("weighted_clusters", {}).get("clusters") or [
            {"name": last.get("cluster"), "weight": 100}
        ]
        share = {self.targets.environment(c.get("name", "")): c.get("weight", 0) for c in weighted}
        writer = self.targets.environment(first.get("cluster", ""))
        if writer is None or None in share:
            return None
        try:
            return Route(tenant, writer, {str(name): percent for name, percent in share.items()})
        except ValueError:
            return None


def with_route(routes: list[Entry], tenant: TenantId, entries: list[Entry]) -> list[Entry]:
    """A virtual host's routes with these for the tenant, ours of other tenants as they are, then the rest."""
    ours = [entry for entry in routes if _is_ours(entry)]
    others = [entry for entry in ours if not is_of(entry, tenant)]
    rest = [entry for entry in routes if not _is_ours(entry)]
    place = next((at for at, entry in enumerate(ours) if is_of(entry, tenant)), len(others))
    return [*others[:place], *entries, *others[place:], *rest]


def tenants(routes: Iterable[Entry]) -> list[TenantId]:
    """Whose routes are in effect among a virtual host's."""
    found = [_tenant_of(entry) for entry in _ours(routes)]
    return [tenant for tenant in dict.fromkeys(found) if tenant is not None]


def lenders(routes: Iterable[Entry]) -> dict[str, Entry]:
    """The operator's catch-all routes, for reads and for writes; what is not there is left out."""
    found: dict[str, Entry] = {}
    for entry in routes:
        if not _is_ours(entry) and "route" in entry:
            if entry.get("match") == {"prefix": "/", "headers": [_METHODS]}:
                found.setdefault(WRITE, entry)
            elif entry.get("match") == {"prefix": "/"}:
                found.setdefault(WRITE, entry)
                found.setdefault(READ, entry)
    return found


def is_of(entry: Entry, tenant: TenantId) -> bool:
    """Whether an entry is one of ours for that tenant."""
    return str(entry.get("name", "")).startswith(f"{_OURS}{encode_tenant(tenant)}/")


def _matches(tenant: TenantId) -> Mapping[str, Entry]:
    """What each of the tenant's entries matches, first one first."""
    by_tenant = {"name": TENANT_HEADER, "string_match": {"exact": encode_tenant(tenant)}}
    marked = {"name": WRITE_HEADER, "string_match": {"exact": "1"}}
    return {
        "write-method": {"prefix": "/", "headers": [by_tenant, _METHODS]},
        "write-header": {"prefix": "/", "headers": [by_tenant, marked]},
        "read": {"prefix": "/", "headers": [by_tenant]},
    }


def _ours(routes: Iterable[Entry]) -> Iterable[Entry]:
    """Ours that are in effect: those before the first that is not ours."""
    return takewhile(_is_ours, routes)


def _is_ours(entry: Entry) -> bool:
    return str(entry.get("name", "")).startswith(_OURS)


def _tenant_of(entry: Entry) -> TenantId | None:
    return decode_tenant(str(entry["name"]).removeprefix(_OURS).rpartition("/")[0])


def _choice(entry: Entry) -> tuple[Any, Entry]:
    """What decides where a request goes."""
    action = entry.get("route", {})
    return entry.get("match"), {key: action[key] for key in _CHOICE if key in action}
