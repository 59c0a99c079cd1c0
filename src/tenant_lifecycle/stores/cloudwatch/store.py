"""CloudWatch Logs as a store: joins the stories of this folder into the contracts, and adds nothing.

Logs do not move: the store is erased and searched, and has none of a migration's abilities.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.base import Check, SetSize
from tenant_lifecycle.stores.cloudwatch import doomed, erasable, erase, plant, search
from tenant_lifecycle.stores.cloudwatch.anonymise import Token, tokens
from tenant_lifecycle.stores.cloudwatch.connection import Logs
from tenant_lifecycle.stores.cloudwatch.streams import Area
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

#: "Typically up to 72 hours", says the service's documentation of retention and deletion.
DAYS = 3


class CloudWatchStore:
    """The log groups of one account and region. Safe to use from several threads."""

    kind = "cloudwatch"
    #: Every line of every stream of every group that can be listed.
    proves = Level.EXHAUSTIVE

    def __init__(self, name: str, environment: str, area: Area) -> None:
        self.name = name
        self.environment = environment
        self.area = area
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> CloudWatchStore:
        """What the entry point names. ``settings`` has what is needed to reach it, ``quiet`` and ``old_lines``.

        Raises:
            ConfigError: only one of the two keys, or ``quiet`` is no number of seconds.
        """
        full = f"{environment}/{name}"
        return cls(full, environment, Area(Logs(full, settings), ownership.keys.get(name, KeyMap()), ids))

    # -- Store

    def probe(self) -> list[Finding]:
        return erasable.probe(self.area.logs)

    def tenants(self) -> list[TenantId]:
        """None: whose a stream is, is told by the rules for one tenant."""
        return []

    def holds(self, tenant: TenantId) -> bool:
        return next(doomed.doomed(self.area, tenant, lambda: None), None) is not None

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        """Groups and streams of families, lines of shared streams; counted.

        Raises:
            UnmappedData: a stream has no rule.
        """
        if count := erasable.unmapped(self.area):
            raise UnmappedData(
                f"{self.name}: no rule in ownership.yaml for {count} log streams",
                next_step="add families, shared rules or global templates of the form group:stream",
            )
        items: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for batch in doomed.doomed(self.area, tenant, lambda: None):
            items[batch.set] += len(batch.keys)
            size[batch.set] += batch.bytes
        names = (*self.area.rules.families, *self.area.rules.shared)
        return [SetSize(name, items[name], size[name], True) for name in names]

    def close(self) -> None:
        self.area.logs.close()

    # -- Erases, Plants

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return erasable.erasure_findings(self.area, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed.doomed(self.area, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.area, erasing, batch, self._token(erasing), check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        """Nothing to reclaim; forgets the key of the tokens, and tells which settings name the tenant."""
        check()
        left = tuple(erasable.named_settings(self.area.logs, erasing.tenant))
        with self._lock:
            self._tokens.pop(erasing.name, None)
        return Settled(("key of the tokens forgotten",), left)

    def horizon(self) -> Horizon | None:
        return Horizon(Level.VENDOR, DAYS, "CloudWatch Logs: deleted within about 72 hours after the request")

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return plant.plant(self.area, erasing, marker)

    def _token(self, erasing: Erasing) -> Token:
        """One key for each operation, in memory only: a driver that takes over makes other tokens."""
        with self._lock:
            return self._tokens.setdefault(erasing.name, tokens(secrets.token_bytes(32)))

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return erasable.verifier_findings(self.area.logs)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        return search.remaining(self.area.logs, batch, check)

    def places(self) -> list[Place]:
        return search.places(self.area.logs, self.area.rules)

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.area.logs, self.area.rules, place, found, check)
