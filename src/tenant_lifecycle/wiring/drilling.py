"""Restore drills of one installation, put together."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.drills import Drills
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.errors import KeyUnavailable, NotRestorable, UnknownTenant
from tenant_lifecycle.evidence.keys import Role
from tenant_lifecycle.model.backup.drill import random_moment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import NewOperation, Operation
from tenant_lifecycle.operations.drill.definition import Drill
from tenant_lifecycle.operations.drill.session import DrillSession
from tenant_lifecycle.operations.restore.moments import Chosen, choose, moment_of
from tenant_lifecycle.wiring.backups import Backups, point_of
from tenant_lifecycle.wiring.evidence import signing_with
from tenant_lifecycle.wiring.installation import Installation


class Drilling:
    """Starts drills, and keeps what came of them."""

    def __init__(self, installation: Installation, database: ControlDatabase, backups: Backups) -> None:
        self._installation = installation
        self._backups = backups
        self._operations = Operations(database)
        self.results = Drills(database)

    def start(
        self,
        tenants: Sequence[TenantId],
        *,
        environment: str | None = None,
        actor: str,
        reason: str = "",
        draw: random.Random | None = None,
    ) -> Operation:
        """Record a drill of one of the tenants as of one of its moments, both at random.

        Raises:
            NotRestorable: of none of them is there anything to restore.
        """
        draw = draw or random.SystemRandom()
        for tenant in draw.sample(list(tenants), len(tenants)):
            with suppress(NotRestorable, KeyUnavailable, UnknownTenant):
                return self._start(tenant, environment, actor, reason, draw)
        raise NotRestorable(
            "there is no backup to drill with" if tenants else "there is no tenant to drill with",
            next_step="tenantctl backup create TENANT",
        )

    def _start(
        self, tenant: TenantId, environment: str | None, actor: str, reason: str, draw: random.Random
    ) -> Operation:
        repository = self._backups.repository(tenant)
        intervals = repository.window().intervals
        if intervals:
            chosen = Chosen(random_moment(intervals, draw))
        elif repository.manifests():
            # Without a log only the moments of bases can be restored.
            manifest = draw.choice(repository.manifests())
            chosen = choose(repository, point_of(manifest.id), 0)
        else:
            raise NotRestorable(f"tenant {tenant!r} has no backup", next_step="tenantctl backup create")
        moment = moment_of(repository, chosen)
        spec = {
            "environment": self._backups.environment_of(tenant, environment),
            "at_us": chosen.at_us,
            "base": chosen.base,
            "stores": list(moment.stores()),
        }
        return self._operations.create(
            NewOperation(Drill.kind, Drill.name, tenant, actor, spec, reason=reason)
        )

    def reports(self, *, tenant: str | None = None, limit: int = 50) -> list[Mapping[str, Any]]:
        """What came of drills, newest first."""
        return self.results.reports(tenant=tenant, limit=limit)

    def open_session(self, operation: Operation, token: int) -> DrillSession:
        """What a driver of a drill holds open."""
        return DrillSession(
            self._backups.open_session(operation, token),
            Chosen(int(operation.spec["at_us"]), operation.spec["base"]),
            self.results,
            signing_with(Role.VERIFIER, self._installation.evidence),
        )
