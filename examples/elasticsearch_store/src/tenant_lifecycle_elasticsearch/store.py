"""The store: what its entry point opens. Each ability is a story of its own beside this module.

It cannot refuse one tenant's writes, so it is no `Closes`: the application's writes stop at the fence of its database.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence

from tenant_lifecycle.errors import ConfigError, StoreError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.keymap import IdSource
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Level,
    Looked,
    Place,
    Planted,
    Settled,
)
from tenant_lifecycle_elasticsearch import doomed, erase, indices, search, settle
from tenant_lifecycle_elasticsearch.cluster import Cluster, at
from tenant_lifecycle_elasticsearch.indices import Rules

SETTINGS = frozenset({"url", "user", "password", "api_key"})


def open_elasticsearch(
    *, name: str, environment: str, settings: Mapping[str, str], ownership: OwnershipMap, ids: IdSource
) -> ElasticsearchStore:
    """What the entry point names.

    Raises:
        ConfigError: a setting is missing or unknown, or ``ownership.yaml`` has no rules for the store.
    """
    full = f"{environment}/{name}"
    unknown = sorted(settings.keys() - SETTINGS)
    if unknown or "url" not in settings:
        raise ConfigError(f"store {full}: {f'unknown setting {unknown[0]!r}' if unknown else 'no url'}")
    if name not in ownership.keys:
        raise ConfigError(f"store {full}: ownership.yaml does not say whose its indices are")
    cluster = Cluster(full, settings["url"], _authorization(settings))
    return ElasticsearchStore(cluster, environment, Rules(ownership.keys[name], ids))


def _authorization(settings: Mapping[str, str]) -> str:
    if "api_key" in settings:
        return f"ApiKey {settings['api_key']}"
    if "user" in settings:
        pair = f"{settings['user']}:{settings.get('password', '')}"
        return f"Basic {b64encode(pair.encode()).decode()}"
    return ""


class ElasticsearchStore:
    """One cluster in one environment."""

    kind = "elasticsearch"
    #: Every document of every index is read; the bytes of segments and snapshots are not.
    proves = Level.EXHAUSTIVE

    def __init__(self, cluster: Cluster, environment: str, rules: Rules) -> None:
        self.cluster, self.environment, self.rules = cluster, environment, rules
        self.name = cluster.name

    # -- Store

    def probe(self) -> list[Finding]:
        try:
            number = self.cluster.get("/")["version"]["number"]
        except StoreError as exc:
            return [Finding("es.reachable", Severity.REFUSAL, str(exc), exc.next_step, self.name)]
        return [Finding("es.reachable", Severity.OK, f"version {number} answers", subject=self.name)]

    def tenants(self) -> list[TenantId]:
        """None: an index does not say where a tenant's id ends."""
        return []

    def holds(self, tenant: TenantId) -> bool:
        return any(size.items for size in self.inventory(tenant))

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        found: dict[str, int] = dict.fromkeys((*self.rules.keys.families, *self.rules.keys.shared), 0)
        for index in indices.names(self.cluster):
            family = self.rules.family_of(tenant, index)
            if family is not None:
                found[family] += int(self.cluster.get(at(index, "_count"))["count"])
        for index, rule in indices.shared_indices(self.cluster, self.rules, tenant):
            asked = {"query": indices.owned_by(self.cluster, index, rule)}
            found[rule.name] += int(self.cluster.post(at(index, "_count"), asked)["count"])
        return [SetSize(name, items, 0, True) for name, items in found.items()]

    def close(self) -> None:
        self.cluster.close()

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        """Refusals: an index that no rule mentions, an owner's field that cannot be asked for."""
        try:
            for index, rule in indices.shared_indices(self.cluster, self.rules, tenant):
                indices.owned_by(self.cluster, index, rule)
            unknown = [name for name in indices.names(self.cluster) if not self._known(name)]
        except StoreError as exc:
            return [Finding("es.unusable", Severity.REFUSAL, str(exc), exc.next_step, self.name)]
        if not unknown:
            return []
        message = f"{len(unknown)} indices that no rule mentions, such as {unknown[0]!r}"
        return [Finding("es.unmapped", Severity.REFUSAL, message, "complete ownership.yaml", self.name)]

    def _known(self, index: str) -> bool:
        return index.startswith(".") or self.rules.keys.mentions(index)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.cluster, self.rules, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.cluster, self.rules, erasing.tenant, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
        return settle.settle(self.cluster, self.rules, erasing.tenant, sets, check)

    def horizon(self) -> Horizon | None:
        return None

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        """One document in the first shared index whose owner is a field of the document itself."""
        for index, rule in indices.shared_indices(self.cluster, self.rules, erasing.tenant):
            if len(rule.path) == 1 and rule.owners:
                document = {rule.path[0]: rule.owners[0].prefix, "tenant_lifecycle": marker}
                self.cluster.ask(
                    "PUT", at(index, "_doc", f"{marker}"), body=document, params={"refresh": "true"}
                )
                return [Planted(index, 1)]
        return []

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return search.verifier_findings(self.cluster)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.cluster, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.cluster, self.rules.keys)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.cluster, place, found, check)
