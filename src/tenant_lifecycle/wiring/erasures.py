"""Erasures and legal holds of one installation, put together: what every face calls.

Nothing here decides anything: each method finds the parts and calls one function.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenant_lifecycle.catalog.certificates import Kept
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.holds import Holds
from tenant_lifecycle.catalog.manifests import Manifests
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.catalog.requests import Requests
from tenant_lifecycle.errors import UnknownCertificate, UsageError, WrongState
from tenant_lifecycle.evidence.bundle import Bundle
from tenant_lifecycle.evidence.certificate import export
from tenant_lifecycle.model.erasure.holds import Hold, HoldAct, HoldState
from tenant_lifecycle.model.erasure.plan import ErasurePlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import (
    CLOSED,
    Exception17,
    Ground,
    Request,
    RequestEvent,
    RequestState,
)
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.erase.certifying import proceedings_of, stage_of
from tenant_lifecycle.operations.erase.definition import Erase
from tenant_lifecycle.operations.erase.emptying import Emptying
from tenant_lifecycle.operations.erase.governing import Governing
from tenant_lifecycle.operations.erase.opening import AGAIN
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.operations.erase.systems import systems_of
from tenant_lifecycle.wiring.certifying import CertificateOffice, Issued, Reading, issued_bundle
from tenant_lifecycle.wiring.installation import Installation, Stores, close_stores
from tenant_lifecycle.wiring.looking import looker_for
from tenant_lifecycle.wiring.repository_system import with_repository


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """A hold, and what had been destroyed of the tenant before it took effect."""

    hold: Hold
    #: Items by operation, then by system.
    destroyed: Mapping[str, Mapping[str, int]]


class Erasures:
    """Requests, holds, and the sessions of the operations that erase. Safe to use from several threads."""

    def __init__(
        self, installation: Installation, database: ControlDatabase, stores: Callable[[], Stores]
    ) -> None:
        self._installation = installation
        self._db = database
        self._stores = stores
        self._opening = threading.Lock()
        self._verifiers: Stores | None = None
        self.requests = Requests(database)
        self.holds = Holds(database)
        self.manifests = Manifests(database)
        self.office = CertificateOffice(database, installation.evidence)
        self._operations = Operations(database)

    @property
    def policy(self) -> ErasurePolicy:
        return self._installation.erasure

    def close(self) -> None:
        """Close the verifiers; safe to repeat."""
        verifiers, self._verifiers = self._verifiers or {}, None
        close_stores(verifiers)

    # -- requests

    def request(
        self,
        tenant: TenantId,
        ground: Ground,
        *,
        actor: str,
        aliases: Sequence[str] = (),
        scope: Sequence[str] = (),
        ticket: str = "",
        received_at: float | None = None,
        out_of_scope: Mapping[str, str] | None = None,
    ) -> Request:
        """Note a request to erase a tenant.

        Raises:
            UsageError: no id, an unknown environment, or a date of receipt in the future.
            ConflictError: the tenant has an open request.
        """
        if not tenant.strip():
            raise UsageError("the tenant's id is empty", next_step="tenantctl tenant list")
        if received_at is not None and received_at > self._db.now():
            raise UsageError("the request cannot have been received in the future")
        systems_of(with_repository(self._installation, self._stores()), {}, scope)
        return self.requests.create(
            tenant, ground, actor=actor, aliases=aliases, scope=scope, ticket=ticket,
            received_at=received_at, out_of_scope=out_of_scope,
        )  # fmt: skip

    def find(self, text: str) -> Request:
        """By id, its beginning, or a tenant's newest request."""
        return self.requests.find(text)

    def list(
        self, *, tenant: str | None = None, open_only: bool = False, limit: int = 100
    ) -> Sequence[Request]:
        """Requests, newest first."""
        states = [state for state in RequestState if state not in CLOSED] if open_only else []
        return self.requests.list(tenant=tenant, states=states, limit=limit)

    def events(self, request_id: str) -> Sequence[RequestEvent]:
        """What happened to a request, oldest first."""
        return self.requests.events(request_id)

    def approved_by(self, request: Request) -> Sequence[str]:
        """Who approved the plan as it is now."""
        return [
            one.by for one in self.requests.approvals(request.id) if one.plan_digest == request.plan_digest
        ]

    def plan(self, text: str, *, actor: str) -> ErasurePlan:
        """Find out what would go, and keep it as the request's plan."""
        request = self.find(text)
        systems = systems_of(
            with_repository(self._installation, self._stores()), self._open_verifiers(), request.scope
        )
        return self._governing.plan(request, systems, actor=actor, now=self._db.now())

    def approve(self, text: str, *, plan: str, actor: str, reason: str = "") -> Request:
        return self._governing.approve(self.find(text), plan, actor=actor, now=self._db.now(), reason=reason)

    def deny(self, text: str, *, actor: str, reason: str) -> Request:
        return self._governing.deny(self.find(text), actor=actor, reason=reason)

    def start(self, text: str, *, actor: str, if_plan: str | None = None, reason: str = "") -> Operation:
        """Record the operation of an approved request; somebody has to drive it."""
        new = self._governing.begin(
            self.find(text), actor=actor, now=self._db.now(), if_plan=if_plan, reason=reason
        )
        return self._operations.create(new)

    def extend(self, text: str, *, reason: str, notice: str, actor: str) -> Request:
        return self._governing.extend(self.find(text), reason, notice, actor=actor, now=self._db.now())

    def cancel(self, text: str, *, actor: str, reason: str) -> Request:
        """End a request before the point of no return; an operation that began takes everything back."""
        request = self.find(text)
        running = self.running(request)
        if running is None:
            return self._governing.cancel(request, actor=actor, reason=reason)
        self._operations.abort(running.id, actor=actor, reason=reason)
        return self.requests.get(request.id)

    def again(self, text: str, *, actor: str) -> Operation:
        """Have an erasure that waits for a person, or for a rescan, look again now.

        Raises:
            WrongState: nothing of the request runs.
        """
        request = self.find(text)
        running = self.running(request)
        if running is None:
            raise WrongState(f"request {request.id} is {request.state}, and no operation of it runs")
        self._operations.signal(running.id, AGAIN, actor=actor)
        return self._operations.get(running.id)

    def running(self, request: Request) -> Operation | None:
        """The operation that erases for this request now."""
        active = self._operations.active(request.tenant)
        mine = active is not None and active.spec.get("request") == request.id
        return active if mine else None

    def residuals(self, text: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What the newest look at each system found, names included, while the manifest's key exists."""
        request = self.find(text)
        operation_id = request.operation_id
        if operation_id is None:
            return {}
        found: dict[str, Sequence[Mapping[str, Any]]] = {}
        for step in self._operations.steps(operation_id):
            if step.key.startswith(("look/", "rescan/", "age/")):
                found |= self.manifests.residue(operation_id, step.key)
        return found

    # -- certificates

    def certificates(self, text: str) -> Sequence[Kept]:
        """Every certificate that was issued for a request, oldest first."""
        return self.office.kept.of_request(self.find(text).id)

    def certificate(self, request: str) -> Bundle | None:
        """The newest certificate of a request, whether it counts still or not; None: none was issued."""
        kept = self.office.newest(self.find(request).id)
        return None if kept is None else issued_bundle(kept)

    def export_certificate(self, request: str, folder: Path, *, for_tenant: bool = True) -> Sequence[Path]:
        """Write the newest certificate with its pages into a new folder; the files.

        ``for_tenant``: with what shows whose certificate it is; copies for others go without.

        Raises:
            UnknownCertificate: there is none.
            FileExistsError: the folder holds something.
        """
        bundle = issued_bundle(self._newest(request))
        return export(bundle if for_tenant else bundle.without_tenant(), folder)

    def issue_certificate(self, text: str) -> Issued:
        """Issue what the erasure did not issue by itself, for want of keys: now, from what its steps noted.

        Raises:
            WrongState: nothing is verified yet, or something came back.
            ConfigError, NotCertifiable, StoreError: as while it ran.
        """
        request = self.find(text)
        operation = self._operations.get(request.operation_id) if request.operation_id else None
        steps = self._operations.steps(operation.id) if operation else ()
        outputs = Outputs.of(tuple(steps))
        stage = stage_of(outputs)
        if operation is None or stage is None or operation.plan_hash != request.plan_digest:
            raise WrongState(
                f"request {request.id} is {request.state}: nothing is verified that could be certified",
                next_step=f"tenantctl erase get {request.id}",
            )
        session = self.open_session(operation.id, request.id, token=0)
        try:
            found = proceedings_of(session, outputs, stage[1], self._db.now())
        finally:
            session.close()
        return self.office.issue(f"{stage[0]}/{stage[1]}", found)

    def read_certificate(self, text: str) -> Reading:
        """Read a request's newest certificate again with our own keys.

        Raises:
            UnknownCertificate: there is none.
            ConfigError, StoreError: keys are missing or cannot be used.
        """
        return self.office.read(self._newest(text))

    def _newest(self, text: str) -> Kept:
        request = self.find(text)
        kept = self.office.newest(request.id)
        if kept is None:
            raise UnknownCertificate(
                f"no certificate was issued for request {request.id}",
                next_step=f"tenantctl erase cert issue {request.id}",
            )
        return kept

    # -- legal holds

    def place_hold(
        self,
        matter: str,
        ground: Exception17,
        names: Sequence[str],
        *,
        actor: str,
        reason: str = "",
        systems: Sequence[str] = (),
        sets: Sequence[str] = (),
        review_at: float | None = None,
    ) -> PlacedHold:
        """Place a hold; when this returns no deletion that it is about is going on.

        Raises:
            UsageError: no matter, or nobody named.
            StoreBusy: the hold stands, and a call that began before it is not over.
        """
        if not matter.strip() or not names or not all(name.strip() for name in names):
            raise UsageError("a hold needs a matter and the tenant it is about")
        placed = self.holds.place(
            matter, ground, names, actor=actor, reason=reason, systems=systems, sets=sets, review_at=review_at
        )
        running = [one for one in self._operations.list(kind=Erase.kind) if placed.is_about([one.tenant_id])]
        destroyed = {one.id: self.manifests.destroyed(one.id) for one in running if not one.terminal}
        return PlacedHold(placed, destroyed)

    def approve_hold(self, hold_id: str, *, actor: str) -> Hold:
        return self.holds.append(hold_id, HoldAct.APPROVED, actor=actor)

    def release_hold(self, hold_id: str, *, actor: str, reason: str) -> Hold:
        """Ask for a release; a second person who does the same confirms it, and the delay begins."""
        hold = self.holds.get(hold_id)
        if hold.state(self._db.now()) is HoldState.RELEASE_REQUESTED:
            delay = self.policy.hold_release_s
            return self.holds.append(
                hold.id, HoldAct.RELEASE_CONFIRMED, actor=actor, reason=reason, delay_s=delay
            )
        return self.holds.append(hold.id, HoldAct.RELEASE_REQUESTED, actor=actor, reason=reason)

    # -- driving

    def open_session(self, operation_id: str, request_id: str, token: int) -> ErasureSession:
        """What a driver of an erasure holds open: stores of its own, so that it shares no connection."""
        request, plan = self.requests.get(request_id), self.requests.plan(request_id)
        if plan is None:
            raise WrongState(f"request {request_id} has no plan")
        stores = with_repository(self._installation, self._installation.open_stores(()))
        verifiers = with_repository(self._installation, self._installation.open_verifiers())

        def close() -> None:
            close_stores(stores)
            close_stores(verifiers)

        return ErasureSession(
            operation_id,
            request,
            plan,
            token,
            tuple(systems_of(stores, verifiers, request.scope)),
            self.policy,
            self.requests,
            self.holds,
            self.manifests,
            looker_for(
                request, operation_id, self.policy.control_tenant, stores, self._installation.own_credentials
            ),
            self.office,
            close,
        )

    def emptying(self, environment: str) -> tuple[Emptying, Callable[[], None]]:
        """What empties an environment that a tenant has left, and what gives its connections back."""
        verifiers = self._installation.open_verifiers()
        by_name = {f"{environment}/{name}": one for name, one in verifiers.get(environment, {}).items()}
        return Emptying(self.holds, self.manifests, by_name), lambda: close_stores(verifiers)

    @property
    def _governing(self) -> Governing:
        return Governing(self.requests, self.holds, self.policy)

    def _open_verifiers(self) -> Stores:
        with self._opening:
            if self._verifiers is None:
                self._verifiers = with_repository(self._installation, self._installation.open_verifiers())
            return self._verifiers
