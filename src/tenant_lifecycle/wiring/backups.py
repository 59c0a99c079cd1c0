"""Backups and restores of one installation, put together: what every face calls.

Nothing here decides anything: each method finds the parts and calls one function.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tenant_lifecycle.backups.care.exclusion import excluded
from tenant_lifecycle.backups.contract import TenantRepository
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.holds import Holds
from tenant_lifecycle.catalog.operations import Operations, busy_error
from tenant_lifecycle.catalog.tenants import Tenants
from tenant_lifecycle.errors import (
    NotRestorable,
    PlanChanged,
    StoreUnavailable,
    UnknownTenant,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.backup.when import MARK_LABEL, Point, read_point
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import NewOperation, Operation
from tenant_lifecycle.operations.backup.definition import Backup
from tenant_lifecycle.operations.backup.session import BackupSession, judge_of, writing_name
from tenant_lifecycle.operations.migrate.provision import refuse
from tenant_lifecycle.operations.restore.definition import Restore
from tenant_lifecycle.operations.restore.moments import Chosen, choose, moment_of
from tenant_lifecycle.operations.restore.planning import RestorePlan, plan_restore
from tenant_lifecycle.operations.restore.promoting import DISCARD, PROMOTE
from tenant_lifecycle.operations.restore.session import RestoreSession
from tenant_lifecycle.stores.backing import SetDiff
from tenant_lifecycle.stores.base import FenceRow, FenceState
from tenant_lifecycle.wiring.clocks import go_by_the_judge
from tenant_lifecycle.wiring.installation import Installation, Stores, close_stores
from tenant_lifecycle.wiring.repository import open_repository


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which restore is wanted."""

    tenant: TenantId
    #: As a person writes it: a time with its offset, a base's id, mark:NAME, latest.
    to: str
    #: None: where the tenant's writer is.
    environment: str | None = None
    #: Only these, ``STORE/SET``.
    only: Sequence[str] = ()


class Backups:
    """Bases, restores, and the sessions of their operations. Safe to use from several threads."""

    def __init__(
        self,
        installation: Installation,
        database: ControlDatabase,
        stores: Callable[[], Stores],
        home: Callable[[TenantId], str],
    ) -> None:
        self._installation = installation
        self._stores = stores
        self._home = home
        self._db = database
        self._operations = Operations(database)
        self._tenants = Tenants(database)
        self._holds = Holds(database)

    def repository(self, tenant: TenantId) -> TenantRepository:
        """One tenant's part of the repository.

        Raises:
            ConfigError: none is configured, or its key cannot be read.
        """
        return self._installation.open_repository(tenant)

    # -- backups

    def protect(self, tenant: TenantId, environment: str | None = None) -> FenceRow:
        """Have the tenant's environment manage it, so that applications enter which keys they touch.

        Until then the archiver has no log of its stores without one of their own (Redis, vectors, objects), and
        only bases of those can be restored. A tenant that is managed stays as it is.

        Raises:
            UnsupportedByStore: no store of the environment can.
            StoreBusy: tables were in use; try again.
        """
        named = self._checked(tenant)
        where = self.environment_of(named, environment)
        return judge_of(where, self._stores()[where]).arm(named, FenceState.ACTIVE, 1, None)

    def start_backup(
        self,
        tenant: TenantId,
        environment: str | None,
        *,
        mark: str = "",
        labels: Mapping[str, str] | None = None,
        actor: str,
        reason: str = "",
    ) -> Operation:
        """Record a backup; somebody has to drive it.

        Raises:
            UnknownTenant: no environment holds the tenant.
            WrongState: the tenant is being erased.
            ConfigError, RepositoryError, KeyUnavailable: the repository does not open.
        """
        named = self._checked(tenant)
        self.repository(named)
        where = self.environment_of(named, environment)
        busy = self._operations.active(named)
        if busy is not None and busy.kind == "erase":
            raise WrongState(
                f"tenant {named!r} is being erased by {busy.id}; a backup would keep what has to go",
                next_step=f"tenantctl op watch {busy.id}",
            )
        all_labels = {**(labels or {}), **({MARK_LABEL: mark} if mark else {})}
        keep_s = self._installation.backups.policies.of(self._tier(named)).pitr_s
        new = NewOperation(
            Backup.kind, Backup.name, named, actor,
            {"environment": where, "labels": all_labels, "keep_s": keep_s}, reason=reason,
        )  # fmt: skip
        return self._operations.create(new)

    # -- restores

    def plan_restore(self, wanted: Wanted) -> RestorePlan:
        """What a restore would do and why it would be refused; changes nothing.

        Raises:
            NotRestorable, UnknownBackup: the moment cannot be restored.
        """
        tenant = self._checked(wanted.tenant)
        environment = self.environment_of(tenant, wanted.environment)
        repository = self.repository(tenant)
        chosen = choose(repository, point_of(wanted.to), time.time_ns() // 1000)
        self._refuse_erased(tenant, chosen)
        holds = [hold.id for hold in self._holds.blocking([tenant])]
        return plan_restore(
            moment_of(repository, chosen), chosen, tenant, environment,
            self._stores()[environment], _only(wanted.only), holds, self._writer(tenant),
        )  # fmt: skip

    def start_restore(
        self,
        wanted: Wanted,
        *,
        if_plan: str | None = None,
        preview_only: bool = False,
        actor: str,
        reason: str = "",
    ) -> Operation:
        """Plan, refuse or record the restore; somebody has to drive it.

        Raises:
            PlanChanged: the plan's hash is not ``if_plan``.
            PreconditionRefused: the plan has refusals.
            TenantBusy: another exclusive operation is active on the tenant, a move for example.
        """
        busy = self._operations.active(self._checked(wanted.tenant))
        if busy is not None:
            raise busy_error(busy)
        plan = self.plan_restore(wanted)
        if if_plan is not None and plan.hash != if_plan:
            raise PlanChanged(
                f"the plan is {plan.hash}, not {if_plan}",
                next_step=f"look at it again: tenantctl restore plan {shlex.quote(plan.tenant)} "
                f"--to {shlex.quote(wanted.to)}",
            )
        # A hold forbids to replace what is live, which a preview that cannot be promoted never does.
        refuse([one for one in plan.findings if not (preview_only and one.code == "restore.held")])
        return self._operations.create(_new_restore(plan, preview_only, actor, reason))

    def promote(self, text: str, *, actor: str, reason: str = "") -> Operation:
        """Say that the preview takes the place of what is live."""
        return self._tell(text, PROMOTE, actor, reason)

    def discard(self, text: str, *, actor: str, reason: str = "") -> Operation:
        """Say that the preview is not needed."""
        return self._tell(text, DISCARD, actor, reason)

    def diff(self, text: str, examples: int) -> Mapping[str, list[SetDiff]]:
        """How the previews of a restore differ from what is live now, by store; exact.

        Raises:
            WrongState: there is no preview (any more).
        """
        operation = self._operations.find(text, kind=Restore.kind)
        session = self.open_restore(operation, token=0)
        try:
            name = writing_name(operation.id)
            stores: Sequence[str] = operation.spec["stores"]
            if operation.terminal or not all(
                name in session.backup.previews(one).previews() for one in stores
            ):
                raise WrongState(
                    f"{operation.id} is {operation.state.value} and has no preview in every store",
                    next_step=f"tenantctl op why {operation.id}",
                )
            return {one: session.preview(one).diff(examples, lambda: None) for one in stores}
        finally:
            session.close()

    def _tell(self, text: str, word: str, actor: str, reason: str) -> Operation:
        operation = self._operations.find(text, kind=Restore.kind)
        own = actor == operation.requested_by
        if word == PROMOTE and own and self._installation.backups.policies.restore.four_eyes:
            raise WrongState(
                f"{operation.id} was asked for by {actor}; another person has to promote it",
                next_step=f"have somebody else say: tenantctl restore promote {operation.id}",
            )
        if word == PROMOTE and operation.spec.get("preview_only"):
            raise WrongState(
                f"{operation.id} is a preview only", next_step="start a restore without --preview-only"
            )
        self._operations.signal(operation.id, word, {"reason": reason} if reason else None, actor=actor)
        return self._operations.get(operation.id)

    # -- driving

    def open_session(self, operation: Operation, token: int) -> BackupSession:
        """What a driver of a backup holds open: stores of its own, so that it shares no connection."""
        tenant, environment = TenantId(operation.tenant_id), operation.spec["environment"]
        stores = self._installation.open_stores((environment,))
        go_by_the_judge(stores[environment])
        return BackupSession(
            operation.id,
            tenant,
            token,
            environment,
            stores[environment],
            self.repository(tenant),
            self._installation.backups.policies.tier_of(self._tier(tenant)),
            self._installation.policy_for(self._tier(tenant)).flip,
            lambda: close_stores(stores),
        )

    def open_restore(self, operation: Operation, token: int) -> RestoreSession:
        """What a driver of a restore holds open."""
        spec = operation.spec
        return RestoreSession(
            self.open_session(operation, token),
            Chosen(int(spec["at_us"]), spec["base"]),
            spec["only"],
            self._installation.backups.policies.restore,
        )

    # -- finding

    def _refuse_erased(self, tenant: TenantId, chosen: Chosen) -> None:
        """A tenant that was erased does not come back by a restore to a moment before."""
        if self._installation.backups.repository is None:
            return
        entry = excluded(open_repository(self._installation.backups), tenant)
        if entry is not None and chosen.at_us <= entry.until * 1_000_000:
            raise NotRestorable(
                f"tenant {tenant!r} was erased by {entry.erasure}, and that moment lies before it",
                next_step="nothing of it may be brought back; moments after it can be restored",
            )

    def _checked(self, tenant: TenantId) -> TenantId:
        if not tenant:
            raise UsageError("the tenant's id is empty", next_step="tenantctl tenant list")
        return tenant

    def environment_of(self, tenant: TenantId, given: str | None) -> str:
        """Where the tenant is; or, if all of it was deleted, where its newest base was taken."""
        known = self._stores()
        if given is not None:
            if given not in known:
                raise UsageError(
                    f"no environment {given!r} in lifecycle.yaml",
                    next_step=f"environments: {', '.join(sorted(known))}",
                )
            return given
        with suppress(UnknownTenant):
            return self._home(tenant)
        manifests = self.repository(tenant).manifests()
        if manifests and manifests[-1].environment in known:
            return manifests[-1].environment
        raise UnknownTenant(
            f"no environment holds tenant {tenant!r}, and it has no backup", next_step="tenantctl tenant list"
        )

    def _writer(self, tenant: TenantId) -> str | None:
        """Where the tenant's writes are accepted; None: nowhere, or its environment does not answer."""
        with suppress(UnknownTenant, StoreUnavailable):
            return self._home(tenant)
        return None

    def _tier(self, tenant: TenantId) -> str:
        try:
            return self._tenants.get(tenant).tier
        except UnknownTenant:
            return ""


def point_of(text: str) -> Point:
    """As `read_point`.

    Raises:
        UsageError: it is no moment, or one without its zone.
    """
    try:
        return read_point(text)
    except ValueError as error:
        raise UsageError(str(error), next_step="tenantctl backup window TENANT shows the moments") from error


def _only(given: Sequence[str]) -> dict[str, list[str]]:
    """``postgres/public.documents`` ... by store."""
    found: dict[str, list[str]] = {}
    for one in given:
        store, _, name = one.partition("/")
        if not store or not name:
            raise UsageError(
                f"{one!r} is no set; write STORE/SET, for example postgres/public.documents",
                next_step="tenantctl restore plan lists them",
            )
        found.setdefault(store, []).append(name)
    return found


def _new_restore(plan: RestorePlan, preview_only: bool, actor: str, reason: str) -> NewOperation:
    return NewOperation(
        kind=Restore.kind,
        definition=Restore.name,
        tenant_id=plan.tenant,
        requested_by=actor,
        spec={
            "environment": plan.environment,
            "at_us": plan.chosen.at_us,
            "base": plan.chosen.base,
            "stores": [one.store for one in plan.stores],
            "only": {store: list(sets) for store, sets in plan.only.items()},
            "preview_only": preview_only,
        },
        plan={"base": plan.base, "items": plan.items},
        plan_hash=plan.hash,
        reason=reason,
    )
