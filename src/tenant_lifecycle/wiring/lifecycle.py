"""The services of one installation, put together: what every face (CLI, demo, facade, tests) calls.

Nothing here decides anything: each method finds the parts and calls one operation.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.migrations import upgrade
from tenant_lifecycle.catalog.operations import Operations, busy_error
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.driver import Driver
from tenant_lifecycle.engine.runner import Runner
from tenant_lifecycle.errors import LifecycleError, PlanChanged, UnknownTenant, UsageError
from tenant_lifecycle.model.backup.manifest import RestoreWindow
from tenant_lifecycle.model.cutover import writer
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import (
    Event,
    NewOperation,
    Operation,
    Outputs,
    State,
    StepAhead,
    StepRecord,
    TenantUpdate,
)
from tenant_lifecycle.model.plan import Cutover, MigrationPlan
from tenant_lifecycle.model.policy import MigrationOptions, MigrationPolicy
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.model.tenant import Tenant
from tenant_lifecycle.model.verification import VerificationReport
from tenant_lifecycle.operations.backup.definition import Backup
from tenant_lifecycle.operations.clone.definition import DeleteClone, MakeClone
from tenant_lifecycle.operations.drill.definition import Drill
from tenant_lifecycle.operations.erase.definition import Erase
from tenant_lifecycle.operations.migrate.definition import Migrate, Roll
from tenant_lifecycle.operations.migrate.planning import plan_migration
from tenant_lifecycle.operations.migrate.provision import refuse, seen
from tenant_lifecycle.operations.migrate.session import Session
from tenant_lifecycle.operations.pairs import Pair, pair_up
from tenant_lifecycle.operations.restore.definition import Restore
from tenant_lifecycle.operations.verify import verify_tenant
from tenant_lifecycle.stores.base import Fences, Store
from tenant_lifecycle.traffic.steering import Steering
from tenant_lifecycle.wiring.archiver import archiver_status, run_archiver, window
from tenant_lifecycle.wiring.backups import Backups
from tenant_lifecycle.wiring.caring import Caring
from tenant_lifecycle.wiring.checkpoints import signing
from tenant_lifecycle.wiring.cloning import Cloning
from tenant_lifecycle.wiring.drilling import Drilling
from tenant_lifecycle.wiring.erasures import Erasures
from tenant_lifecycle.wiring.evidence import open_audit_log
from tenant_lifecycle.wiring.installation import Installation, Stores, close_stores
from tenant_lifecycle.wiring.repository import repository_findings
from tenant_lifecycle.wiring.runner_process import ensure_runner_process, only_runner
from tenant_lifecycle.wiring.verifiers import verifier_findings

#: How often a worker looks for clones whose time is over.
EXPIRY_LOOK_S = 60.0


class Lifecycle:
    """One open installation; close it, or use it as a context manager. Safe to use from several threads."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.database = ControlDatabase(installation.control)
        upgrade(self.database)
        self._operations = Operations(self.database)
        self._tenants = Tenants(self.database)
        self._journal = SqlJournal(self.database)
        self.erasures = Erasures(installation, self.database, lambda: self.stores)
        self.backups = Backups(installation, self.database, lambda: self.stores, self.home)
        self.caring = Caring(installation, self.database)
        self.drilling = Drilling(installation, self.database, self.backups)
        self.cloning = Cloning(installation, self.database, self.backups, lambda: self.stores)
        self._stores: Stores | None = None
        self._steering: Steering | None = None
        self._steered = False
        self._opening = threading.Lock()

    def __enter__(self) -> Lifecycle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close stores and the control database; safe to repeat."""
        stores, self._stores = self._stores or {}, None
        close_stores(stores)
        self.erasures.close()
        if self._steering is not None:
            self._steering.close()
        self.database.close()

    # -- environments and tenants ------------------------------------------------------------------------

    @property
    def stores(self) -> Stores:
        """Every store by environment and name, opened on first use."""
        with self._opening:
            if self._stores is None:
                self._stores = self.installation.open_stores(())
            return self._stores

    @property
    def steering(self) -> Steering | None:
        """Every router and health source, opened on first use; None without routers."""
        with self._opening:
            if not self._steered:
                self._steering, self._steered = self.installation.open_steering(), True
            return self._steering

    def doctor(self) -> list[Finding]:
        """Probe the control database, every store and every router."""
        subject = "control database"
        try:
            self.database.now()
            findings = [
                Finding("control.reachable", Severity.OK, "the control database answers", subject=subject)
            ]
        except LifecycleError as error:
            findings = [Finding("control.reachable", Severity.REFUSAL, str(error), error.next_step, subject)]
        findings += [f for store in self._every_store() for f in store.probe()]
        findings += verifier_findings(self.installation, self.stores)
        findings += repository_findings(self.installation.backups)
        routers = self.installation.open_routers()
        try:
            return findings + routers.probe()
        finally:
            routers.close()

    def _every_store(self) -> list[Store]:
        return [store for stores in self.stores.values() for store in stores.values()]

    def home(self, tenant: TenantId) -> str:
        """The environment that accepts the tenant's writes, by the databases' own word.

        Raises:
            UnknownTenant: no environment holds the tenant.
        """
        accepting = [
            name
            for name, stores in self.stores.items()
            for store in stores.values()
            if isinstance(store, Fences) and store.holds(tenant)
            if (row := store.fence_row(tenant)) is None or writer(seen(row), None) == "source"
        ]
        if len(accepting) > 1:
            # They share a database: where the tenant's code runs is what a rolling move noted.
            with suppress(UnknownTenant):
                noted = self._tenants.get(tenant).environment
                return noted if noted in accepting else accepting[0]
        if accepting:
            return accepting[0]
        raise UnknownTenant(f"no environment holds tenant {tenant!r}", next_step="tenantctl tenant list")

    def tenants(self, *, environment: str | None = None) -> list[Tenant]:
        """Tenants by id: those of the control database, and those that the environments' stores hold."""
        known = {tenant.id: tenant for tenant in self._tenants.list(environment=environment)}
        for name, stores in self.stores.items():
            if environment in (None, name):
                for store in stores.values():
                    for found in store.tenants():
                        known.setdefault(found, Tenant(found, found, "", name, "active", 0.0, 0.0))
        return [known[name] for name in sorted(known)]

    def tenant(self, tenant: TenantId) -> Tenant:
        """One tenant, noted in the control database or found in an environment.

        Raises:
            UnknownTenant: neither.
        """
        try:
            return self._tenants.get(tenant)
        except UnknownTenant:
            return Tenant(tenant, tenant, "", self.home(tenant), "active", 0.0, 0.0)

    def register(self, tenant: str, *, tier: str | None = None, environment: str | None = None) -> Tenant:
        """Note a tenant in the control database, or change what is noted."""
        return self._tenants.upsert(TenantUpdate(tenant, tier=tier, environment=environment))

    def pair(self, source: str, target: str) -> Pair:
        return pair_up(source, target, self.stores, self.installation.changes)

    def verify(self, tenant: TenantId, source: str | None, target: str | None) -> VerificationReport:
        """Compare the tenant between two environments; None: those of its newest migration, writer first."""
        if source is None or target is None:
            spec = self.operation(tenant, kind=Migrate.kind).spec
            source = source or self.home(tenant)
            target = target or next(name for name in (spec["target"], spec["source"]) if name != source)
        return verify_tenant(self.pair(source, target), tenant)

    # -- migrations --------------------------------------------------------------------------------------

    def policy(self, tenant: str, options: MigrationOptions | None = None) -> MigrationPolicy:
        """The policy of the tenant's tier, with what was chosen for one migration."""
        try:
            tier = self._tenants.get(tenant).tier
        except UnknownTenant:
            tier = ""
        return (options or MigrationOptions()).over(self.installation.policy_for(tier))

    def plan_migration(
        self,
        tenant: TenantId,
        source: str | None,
        target: str,
        options: MigrationOptions | None = None,
        *,
        exact: bool = False,
    ) -> MigrationPlan:
        """What a migration would do and why it would be refused; changes nothing."""
        if not tenant:
            raise UsageError("the tenant's id is empty", next_step="tenantctl tenant list")
        pair = self.pair(source or self.home(tenant), target)
        return plan_migration(
            pair, tenant, self.policy(tenant, options), exact=exact, steering=self.steering,
            now=self.database.now(),
        )  # fmt: skip

    def start_migration(
        self,
        tenant: TenantId,
        source: str | None,
        target: str,
        options: MigrationOptions | None = None,
        *,
        if_plan: str | None = None,
        reason: str = "",
        actor: str,
    ) -> str:
        """Plan, refuse or record the operation, and return its id; a runner takes it from there.

        Raises:
            PlanChanged: the plan's hash is not ``if_plan``.
            PreconditionRefused: the plan has refusals.
            TenantBusy: another exclusive operation is active on the tenant.
        """
        busy = self._operations.active(tenant)
        if busy is not None:
            # What it has copied and armed would show up as refusals of a plan: say who it is instead.
            raise busy_error(busy)
        plan = self.plan_migration(tenant, source, target, options)
        if if_plan is not None and plan.hash != if_plan:
            raise PlanChanged(
                f"the plan is {plan.hash}, not {if_plan}",
                next_step="look at it again: tenantctl migrate plan",
            )
        refuse(list(plan.findings))
        self.register(tenant, environment=plan.source)
        return self._operations.create(_new_migration(plan, reason, actor)).id

    # -- the archiver --------------------------------------------------------------------------------------

    def archive(self, stop: threading.Event) -> None:
        """Archive in this process until ``stop`` is set."""
        run_archiver(self.installation, stop)

    def archiver_status(self) -> dict[str, Any]:
        """What the archiver of this host says of itself."""
        return archiver_status(self.installation)

    def restore_window(self, tenant: TenantId) -> RestoreWindow:
        """Which moments of the tenant can be restored, and why others cannot.

        Raises:
            ConfigError: no repository is configured.
            UnknownTenant: neither an environment nor the repository knows the tenant.
        """
        found = window(self.installation, tenant)
        if not found.intervals and not found.gaps:
            self.backups.environment_of(tenant, None)
        return found

    # -- operations --------------------------------------------------------------------------------------

    def operations(
        self,
        *,
        tenant: TenantId | None = None,
        kind: str | None = None,
        states: Sequence[State] = (),
        limit: int = 100,
    ) -> list[Operation]:
        """Operations, newest first."""
        return list(self._operations.list(tenant_id=tenant, kind=kind, states=states, limit=limit))

    def operation(self, text: str, *, kind: str | None = None) -> Operation:
        """By id, by the unambiguous beginning of one, or a tenant's active or else newest one."""
        return self._operations.find(text, kind=kind)

    def find_active(self, tenant: TenantId) -> Operation | None:
        return self._operations.active(tenant)

    def steps(self, operation_id: str) -> list[StepRecord]:
        return list(self._operations.steps(operation_id))

    def steps_ahead(self, operation_id: str) -> list[StepAhead]:
        """Steps that did not begin yet, in order, as the operation's definition knows them now."""
        operation = self._operations.get(operation_id)
        definition = self._definitions().get(operation.definition)
        if operation.terminal or definition is None:
            return []
        outputs = Outputs.of(tuple(self.steps(operation_id)))
        find = definition.abort_steps if operation.aborting else definition.steps
        return [StepAhead(s.key, s.title) for s in find(operation, outputs) if s.key not in outputs.begun]

    def events(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        return list(self._operations.events(operation_id, after=after, limit=limit))

    def latest_events(self, operation_id: str, limit: int) -> list[Event]:
        return list(self._operations.latest_events(operation_id, limit))

    def signal(self, operation_id: str, kind: str, *, actor: str, reason: str = "") -> None:
        self._operations.signal(operation_id, kind, {"reason": reason} if reason else None, actor=actor)

    def pause(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        return self._operations.pause(operation_id, actor=actor, reason=reason)

    def resume(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:  # noqa: ARG002
        return self._operations.resume(operation_id, actor=actor)

    def abort(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        return self._operations.abort(operation_id, actor=actor, reason=reason)

    def retry(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:  # noqa: ARG002
        return self._operations.retry(operation_id, actor=actor)

    # -- driving -----------------------------------------------------------------------------------------

    def open_session(self, operation: Operation, token: int) -> Session:
        """What a driver of a migration holds open: stores of its own, so that it shares no connection."""
        spec = operation.spec
        chosen = MigrationOptions(Cutover(spec["cutover"]), float(spec["settle_s"]), int(spec["workers"]))
        stores = self.installation.open_stores((spec["source"], spec["target"]))
        pair = pair_up(spec["source"], spec["target"], stores, self.installation.changes)
        rolling = operation.definition == Roll.name
        steered = spec.get("steps") or "window" in spec or rolling
        emptying, close_verifiers = self.erasures.emptying(spec["source"])

        def close() -> None:
            close_stores(stores)
            close_verifiers()

        return Session(
            operation_id=operation.id,
            tenant=TenantId(operation.tenant_id),
            token=token,
            pair=Pair(pair.source, pair.target, ()) if rolling else pair,
            shared=pair if rolling else None,
            policy=self.policy(operation.tenant_id, chosen),
            folder=self.installation.state_folder / "spool" / operation.id,
            close_stores=close,
            emptying=emptying,
            steering=self.installation.open_steering() if steered else None,
            reports=self.installation.state_folder / "postmortems",
            history=lambda: self.latest_events(operation.id, 1000),
        )

    def _definitions(self) -> Mapping[str, Definition]:
        return {
            **{one.name: one(self.open_session) for one in (Migrate, Roll)},
            Erase.name: Erase(self.erasures.open_session),
            Backup.name: Backup(self.backups.open_session),
            Restore.name: Restore(self.backups.open_restore),
            Drill.name: Drill(self.drilling.open_session),
            **{one.name: one(self.cloning.open_session) for one in (MakeClone, DeleteClone)},
        }

    def driver(self, *, ttl_s: float = 10.0) -> Driver:
        """Drives every kind of operation this version knows."""
        return Driver(self._journal, self._definitions().values(), ttl_s=ttl_s)

    def runner(self, *, parallel: int = 4) -> Runner:
        """The embedded runner, not yet started."""
        return Runner(self._journal, self.driver(), parallel=parallel)

    def ensure_runner(self) -> None:
        """See to it that a process of its own on this host drives operations."""
        ensure_runner_process(self.installation)

    def audit(self) -> AuditLog:
        """The audit log, with its key if one is configured."""
        return open_audit_log(self.database, self.installation.evidence)

    def work(self, stop: threading.Event, *, parallel: int = 4, idle_exit_s: float | None = None) -> None:
        """Drive operations in this process until ``stop`` is set, or nothing was to do for ``idle_exit_s``."""
        with (
            only_runner(self.installation.state_folder),
            signing(self.audit()),
            self.runner(parallel=parallel) as runner,
        ):
            idle_since, looked = time.monotonic(), 0.0
            while not stop.wait(0.2):
                if time.monotonic() - looked > EXPIRY_LOOK_S:
                    self.cloning.expire()
                    looked = time.monotonic()
                if runner.busy():
                    idle_since = time.monotonic()
                elif idle_exit_s is not None and time.monotonic() - idle_since > idle_exit_s:
                    return


def _new_migration(plan: MigrationPlan, reason: str, actor: str) -> NewOperation:
    return NewOperation(
        kind=Migrate.kind,
        definition=(Roll if plan.strategy is Strategy.ROLLING else Migrate).name,
        tenant_id=plan.tenant,
        requested_by=actor,
        spec={
            "source": plan.source,
            "target": plan.target,
            "cutover": plan.cutover.value,
            "settle_s": plan.settle_s,
            "workers": plan.workers,
            "strategy": plan.strategy.value,
            "steps": list(plan.steps),
            **_window(plan),
        },
        plan={"stores": [[s.store, s.kind, s.items, s.bytes] for s in plan.stores]},
        plan_hash=plan.hash,
        reason=reason,
    )


def _window(plan: MigrationPlan) -> dict[str, object]:
    if plan.window is None:
        return {}
    return {"window": {"opens_at": plan.window.opens_at, "seconds": plan.window.seconds}}
