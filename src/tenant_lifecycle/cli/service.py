"""What the command line asks of the rest: one object, opened by wiring for one configuration file."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.model.backup.manifest import RestoreWindow
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Event, Operation, State, StepAhead, StepRecord
from tenant_lifecycle.model.plan import MigrationPlan
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.tenant import Tenant
from tenant_lifecycle.model.verification import VerificationReport

if TYPE_CHECKING:
    from tenant_lifecycle.wiring.backups import Backups
    from tenant_lifecycle.wiring.caring import Caring
    from tenant_lifecycle.wiring.cloning import Cloning
    from tenant_lifecycle.wiring.drilling import Drilling
    from tenant_lifecycle.wiring.erasures import Erasures


class Lifecycle(Protocol):
    """Everything ``tenantctl`` can ask for. Safe to use from several threads.

    ``source=None`` means the environment that is the tenant's writer. Whoever asks for a change is named by
    ``actor``. Errors are those of `tenant_lifecycle.errors`.
    """

    @property
    def erasures(self) -> Erasures:
        """Requests to erase, and legal holds."""

    @property
    def backups(self) -> Backups:
        """Bases and restores."""

    @property
    def caring(self) -> Caring:
        """The care of the repository."""

    @property
    def drilling(self) -> Drilling:
        """Restore drills."""

    @property
    def cloning(self) -> Cloning:
        """Clones."""

    def doctor(self) -> list[Finding]:
        """Probe the control database and every store; a store that does not answer is a refusal, not an error."""

    def plan_migration(
        self,
        tenant: TenantId,
        source: str | None,
        target: str,
        options: MigrationOptions,
        *,
        exact: bool = False,
    ) -> MigrationPlan:
        """What a migration would do and why it would be refused; changes nothing."""

    def start_migration(
        self,
        tenant: TenantId,
        source: str | None,
        target: str,
        options: MigrationOptions,
        *,
        if_plan: str | None = None,
        reason: str = "",
        actor: str,
    ) -> str:
        """Plan, refuse or record the operation, and return its id; somebody has to drive it (`ensure_runner`).

        Raises:
            PlanChanged: the plan's hash is not ``if_plan``.
            PreconditionRefused: the plan has refusals.
            TenantBusy: another exclusive operation is active on the tenant.
        """

    def verify(self, tenant: TenantId, source: str | None, target: str | None) -> VerificationReport:
        """Compare the tenant between two environments; None: those of its newest migration."""

    def tenants(self, *, environment: str | None = None) -> list[Tenant]:
        """Tenants by id: those of the control database and those the environments' stores hold."""

    def tenant(self, tenant: TenantId) -> Tenant:
        """One tenant. Raises UnknownTenant."""

    def operations(
        self,
        *,
        tenant: TenantId | None = None,
        kind: str | None = None,
        states: Sequence[State] = (),
        limit: int = 100,
    ) -> list[Operation]:
        """Operations, newest first."""

    def operation(self, text: str, *, kind: str | None = None) -> Operation:
        """The operation with that id or unambiguous beginning of one, or a tenant's active or else newest one.

        Raises:
            UnknownOperation: there is none.
        """

    def find_active(self, tenant: TenantId) -> Operation | None:
        """The exclusive operation that is active on the tenant."""

    def steps(self, operation_id: str) -> list[StepRecord]:
        """Steps that began, in the order they did."""

    def steps_ahead(self, operation_id: str) -> list[StepAhead]:
        """Steps that did not begin yet, in order, as the operation's definition knows them now."""

    def events(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """History after event number ``after``, oldest first."""

    def latest_events(self, operation_id: str, limit: int) -> list[Event]:
        """The last events, oldest first."""

    def signal(self, operation_id: str, kind: str, *, actor: str, reason: str = "") -> None:
        """Tell the operation ``promote``, ``rollback`` or ``complete``.

        Raises:
            WrongState: it is over.
        """

    def pause(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Stop at the next safe point."""

    def resume(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Go on after a pause."""

    def abort(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Take back what was done."""

    def retry(self, operation_id: str, *, actor: str, reason: str = "") -> Operation:
        """Go on after attention, or at once instead of at the next try."""

    def audit(self) -> AuditLog:
        """The audit log, with its key if one is configured."""

    def ensure_runner(self) -> None:
        """See to it that something on this host drives operations and outlives this command (``worker run``)."""

    def work(self, stop: threading.Event, *, parallel: int = 4, idle_exit_s: float | None = None) -> None:
        """Drive operations in this process until ``stop`` is set, or for ``idle_exit_s`` nothing was ready.

        Lets go at the next safe point; nothing is lost if the process is killed instead.
        """

    def archive(self, stop: threading.Event) -> None:
        """Archive every environment's stores in this process until ``stop`` is set; being killed is as good.

        Raises:
            ConfigError: no repository is configured.
            ConflictError: an archiver of this installation runs on this host.
        """

    def archiver_status(self) -> dict[str, Any]:
        """Whether the archiver runs on this host, and how far each log is: ``running``, ``pid``, ``at``, ``logs``."""

    def restore_window(self, tenant: TenantId) -> RestoreWindow:
        """Which moments can be restored, and why others cannot."""

    def close(self) -> None:
        """Give back every connection; safe to repeat."""
