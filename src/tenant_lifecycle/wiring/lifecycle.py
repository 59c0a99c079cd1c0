"""The services of one installation, put together: what every face (CLI, demo, facade, tests) calls.

Nothing here decides anything: each method finds the parts and calls one operation.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.engine.driver import Driver
from tenant_lifecycle.engine.runner import Runner
from tenant_lifecycle.errors import PlanChanged, UnknownTenant, UsageError
from tenant_lifecycle.model.cutover import writer
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Event, NewOperation, Operation, State, StepRecord, TenantUpdate
from tenant_lifecycle.model.plan import Cutover, MigrationPlan
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.model.tenant import Tenant
from tenant_lifecycle.model.verification import VerificationReport
from tenant_lifecycle.operations.migrate.definition import Migrate
from tenant_lifecycle.operations.migrate.planning import plan_migration
from tenant_lifecycle.operations.migrate.provision import refuse, seen
from tenant_lifecycle.operations.migrate.session import Session
from tenant_lifecycle.operations.pairs import Pair, pair_up
from tenant_lifecycle.operations.verify import verify_tenant
from tenant_lifecycle.stores.base import Fences, Store

#: Opens every store of every environment, by environment and store name.
OpenStores = Callable[[], Mapping[str, Mapping[str, Store]]]


@dataclass(frozen=True, slots=True)
class Installation:
    """Where an installation keeps things and how it behaves; read from ``lifecycle.yaml`` or made by a test."""

    #: Path of an SQLite file or a PostgreSQL DSN.
    control: str | Path
    #: Spools, and the lock of the runner process.
    state_folder: Path
    open_stores: OpenStores
    policy: MigrationPolicy = MigrationPolicy()
    #: The policy of a tenant's tier, where the tiers differ.
    tiers: Mapping[str, MigrationPolicy] | None = None


class Lifecycle:
    """One open installation; close it, or use it as a context manager."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.database = ControlDatabase(installation.control)
        upgrade(self.database)
        self.operations = Operations(self.database)
        self._tenants = Tenants(self.database)
        self._journal = SqlJournal(self.database)
        self._stores: Mapping[str, Mapping[str, Store]] | None = None

    def __enter__(self) -> Lifecycle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close stores and the control database."""
        for environment in (self._stores or {}).values():
            for store in environment.values():
                store.close()
        self._stores = None
        self.database.close()

    # -- looking ---------------------------------------------------------------------------------------

    @property
    def stores(self) -> Mapping[str, Mapping[str, Store]]:
        """Every store by environment and name, opened on first use."""
        if self._stores is None:
            self._stores = self.installation.open_stores()
        return self._stores

    def pair(self, source: str, target: str) -> Pair:
        return pair_up(source, target, self.stores)

    def policy(self, tenant: str) -> MigrationPolicy:
        """The policy of the tenant's tier."""
        tiers = self.installation.tiers or {}
        try:
            return tiers.get(self._tenants.get(tenant).tier, self.installation.policy)
        except UnknownTenant:
            return self.installation.policy

    def home(self, tenant: TenantId) -> str:
        """The environment that accepts the tenant's writes, by the databases' own word.

        Raises:
            UnknownTenant: no environment holds the tenant.
        """
        rows = {}
        for name, stores in self.stores.items():
            for store in stores.values():
                if isinstance(store, Fences) and store.holds(tenant):
                    rows[name] = store.fence_row(tenant)
        for name, row in rows.items():
            if row is None or writer(seen(row), None) == "source":
                return name
        raise UnknownTenant(f"no environment holds tenant {tenant!r}", next_step="tenantctl tenant list")

    def tenants(self) -> Sequence[Tenant]:
        return self._tenants.list()

    def tenant(self, tenant: str) -> Tenant:
        return self._tenants.get(tenant)

    def register(self, tenant: str, *, tier: str = "", environment: str = "", name: str | None = None) -> Tenant:
        """Note a tenant in the control database, or change what is noted."""
        update = TenantUpdate(tenant, display_name=name, tier=tier or None, environment=environment or None)
        return self._tenants.upsert(update)

    def probe(self) -> list[Finding]:
        """What `doctor` says: every store looked at."""
        return [f for stores in self.stores.values() for store in stores.values() for f in store.probe()]

    def verify(self, tenant: TenantId, source: str, target: str) -> VerificationReport:
        return verify_tenant(self.pair(source, target), tenant)

    # -- migrations ------------------------------------------------------------------------------------

    def plan_migration(
        self, tenant: TenantId, source: str, target: str, *, exact: bool = False, **changes: Any
    ) -> MigrationPlan:
        """The plan; ``changes`` replace fields of the policy (cutover, settle_s, workers)."""
        policy = replace(self.policy(tenant), **changes)
        return plan_migration(self.pair(source, target), tenant, policy, exact=exact)

    def start_migration(
        self,
        tenant: TenantId,
        source: str,
        target: str,
        *,
        if_plan: str | None = None,
        reason: str = "",
        actor: str = "",
        **changes: Any,
    ) -> Operation:
        """Plan once more, refuse what must be refused, and record the operation; a runner takes it from there.

        Raises:
            PlanChanged: the plan's hash is not ``if_plan``.
            PreconditionRefused: pre-flight says no.
            TenantBusy: another operation is active on the tenant.
        """
        active = self.operations.active(tenant)
        plan = self.plan_migration(tenant, source, target, **changes) if active is None else None
        if plan is not None:
            if if_plan is not None and plan.hash != if_plan:
                raise PlanChanged(
                    f"the plan is {plan.hash}, not {if_plan}",
                    next_step="look at it again: tenantctl migrate plan",
                )
            refuse(list(plan.findings))
        policy = replace(self.policy(tenant), **changes)
        new = NewOperation(
            kind=Migrate.kind,
            definition=Migrate.name,
            tenant_id=tenant,
            requested_by=actor or getpass.getuser(),
            spec={
                "source": source,
                "target": target,
                "cutover": policy.cutover.value,
                "settle_s": policy.settle_s,
                "workers": policy.workers,
            },
            plan={"stores": [[s.store, s.items, s.bytes] for s in plan.stores]} if plan else {},
            plan_hash=plan.hash if plan else None,
            reason=reason,
        )
        self.register(tenant, environment=source)
        return self.operations.create(new)

    # -- operations ------------------------------------------------------------------------------------

    def operation(self, text: str) -> Operation:
        """By id, the beginning of an id, or a tenant's active or newest one."""
        return self.operations.find(text)

    def steps(self, operation_id: str) -> Sequence[StepRecord]:
        return self.operations.steps(operation_id)

    def events(self, operation_id: str, after: int = 0) -> Sequence[Event]:
        return self.operations.events(operation_id, after=after)

    def list_operations(
        self, *, tenant: str | None = None, states: Sequence[State] = (), limit: int = 100
    ) -> Sequence[Operation]:
        return self.operations.list(tenant_id=tenant, states=states, limit=limit)

    def signal(self, operation_id: str, kind: str, *, actor: str = "") -> None:
        self.operations.signal(operation_id, kind, actor=actor or getpass.getuser())

    # -- driving ---------------------------------------------------------------------------------------

    def open_session(self, operation: Operation, token: int) -> Session:
        """What a driver of a migration holds open: stores of its own, so that it shares no connection."""
        spec = operation.spec
        policy = replace(
            self.policy(operation.tenant_id),
            cutover=Cutover(spec["cutover"]),
            settle_s=float(spec["settle_s"]),
            workers=int(spec["workers"]),
        )
        return Session(
            operation_id=operation.id,
            tenant=TenantId(operation.tenant_id),
            token=token,
            pair=pair_up(spec["source"], spec["target"], self.installation.open_stores()),
            policy=policy,
            folder=self.installation.state_folder / "spool" / operation.id,
        )

    def driver(self, *, ttl_s: float = 10.0) -> Driver:
        """Drives every kind of operation this version knows."""
        return Driver(self._journal, [Migrate(self.open_session)], ttl_s=ttl_s)

    def runner(self, *, parallel: int = 4) -> Runner:
        """The embedded runner, not yet started."""
        return Runner(self._journal, self.driver(), parallel=parallel)


def require_tenant(tenant: str) -> TenantId:
    """A tenant's id from the command line: any string but the empty one."""
    if not tenant:
        raise UsageError("the tenant's id is empty", next_step="tenantctl tenant list")
    return TenantId(tenant)
