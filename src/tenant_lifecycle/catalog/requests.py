"""Requests to erase in the control database: compare-and-set on (state, version), and a history of every change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.erasure_tables import erasure_approval, erasure_event, erasure_request
from tenant_lifecycle.catalog.operations import new_id
from tenant_lifecycle.errors import ConflictError, UnknownRequest, WrongState
from tenant_lifecycle.evidence.entries import Happening
from tenant_lifecycle.model.erasure.deadline import Deadline
from tenant_lifecycle.model.erasure.people import Approval
from tenant_lifecycle.model.erasure.plan import ErasurePlan, plan_of
from tenant_lifecycle.model.erasure.request import (
    CLOSED,
    Ground,
    Request,
    RequestEvent,
    RequestState,
    refuse_transition,
)
from tenant_lifecycle.model.names import TenantId


class Requests:
    """The requests in the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def create(
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
        """Note a request; ``received_at`` is when it reached the company, by default now.

        Raises:
            ConflictError: there is an open request for the tenant.
        """
        request_id = "er_" + new_id().removeprefix("op_")
        values = {
            "id": request_id,
            "tenant_id": tenant,
            "aliases": list(aliases),
            "scope": list(scope),
            "ground": ground,
            "ticket": ticket,
            "requested_by": actor,
            "received_at": self._db.now() if received_at is None else received_at,
            "extended_because": "",
            "notice": "",
            "state": RequestState.RECEIVED,
            "version": 0,
            "why": "",
            "out_of_scope": dict(out_of_scope or {}),
        }
        try:
            with self._db.writing() as conn:
                conn.execute(erasure_request.insert().values(**values))
                self._note(conn, request_id, tenant, "received", actor, {"ground": ground.value})
        except IntegrityError as error:
            raise ConflictError(
                f"tenant {tenant!r} has an open request to be erased",
                next_step="tenantctl erase list --open",
            ) from error
        return self.get(request_id)

    def get(self, request_id: str) -> Request:
        """One request. Raises UnknownRequest."""
        with self._db.reading() as conn:
            return _request_of(_row(conn, request_id))

    def find(self, text: str) -> Request:
        """The request with that id or unambiguous beginning of one, or a tenant's newest one.

        Raises:
            UnknownRequest: none, or an id that several begin with.
        """
        beginning = erasure_request.c.id.startswith(text, autoescape=True)
        with self._db.reading() as conn:
            if text.startswith("er_") and len(text) >= 7:
                rows = conn.execute(sa.select(erasure_request).where(beginning).limit(2)).all()
                if len(rows) == 1:
                    return _request_of(rows[0])
        of_tenant = self.list(tenant=text, limit=1)
        if not of_tenant:
            raise _unknown(text)
        return of_tenant[0]

    def list(
        self, *, tenant: str | None = None, states: Sequence[RequestState] = (), limit: int = 100
    ) -> list[Request]:
        """Requests, newest first."""
        query = sa.select(erasure_request).order_by(erasure_request.c.id.desc()).limit(limit)
        if tenant is not None:
            query = query.where(erasure_request.c.tenant_id == tenant)
        if states:
            query = query.where(erasure_request.c.state.in_([state.value for state in states]))
        with self._db.reading() as conn:
            return [_request_of(row) for row in conn.execute(query)]

    def open_of(self, tenant: str) -> Request | None:
        """The tenant's open request."""
        states = [state for state in RequestState if state not in CLOSED]
        return next(iter(self.list(tenant=tenant, states=states, limit=1)), None)

    def plan(self, request_id: str) -> ErasurePlan | None:
        """The stored plan."""
        with self._db.reading() as conn:
            row = _row(conn, request_id)
        return None if row.plan is None else plan_of(row.plan)

    def move(
        self, request: Request, to: RequestState, *, actor: str, why: str = "", **changes: Any
    ) -> Request:
        """Change the state of exactly this version of a request.

        Raises:
            WrongState: no such transition, or somebody changed it meanwhile.
        """
        refuse_transition(request, to)
        changes = {"state": to, "why": why, **changes}
        detail = {"from": request.state.value, "why": why, "plan": changes.get("plan_digest")}
        return self._change(request, to.value, actor, detail, changes)

    def advance(
        self, request_id: str, to: RequestState, *, actor: str = "engine", why: str = "", **changes: Any
    ) -> Request:
        """As `move`, for a step that may have done it before: in that state already, nothing happens."""
        request = self.get(request_id)
        if request.state is to:
            return request
        return self.move(request, to, actor=actor, why=why, **changes)

    def store_plan(self, request: Request, plan: ErasurePlan, to: RequestState, *, actor: str) -> Request:
        """Keep a plan; approvals of another plan count no more."""
        return self.move(
            request, to, actor=actor, why="; ".join(one.message for one in plan.refusals),
            plan=plan.document(), plan_digest=plan.digest, planned_at=self._db.now(), cooling_until=None,
        )  # fmt: skip

    def extend(self, request: Request, deadline: Deadline, *, actor: str) -> Request:
        """Keep an extension of the time."""
        changes = {
            "extended_because": deadline.extended_because,
            "notice": deadline.notice,
            "extended_at": deadline.extended_at,
        }
        return self._change(request, "extended", actor, {"due_at": deadline.due_at}, changes)

    def approve(self, request: Request, approval: Approval) -> Request:
        """Keep an approval of exactly this version of a request."""
        with self._db.writing() as conn:
            self._compare_and_set(conn, request, {})
            conn.execute(
                erasure_approval.insert().values(
                    request_id=request.id, plan_digest=approval.plan_digest, by=approval.by,
                    at=approval.at, reason=approval.reason,
                )
            )  # fmt: skip
            plan = {"plan": approval.plan_digest}
            self._note(conn, request.id, request.tenant, "approved", approval.by, plan)
        return replace(request, version=request.version + 1)

    def approvals(self, request_id: str) -> Sequence[Approval]:
        """Every approval ever given, oldest first."""
        query = sa.select(erasure_approval).where(erasure_approval.c.request_id == request_id)
        with self._db.reading() as conn:
            rows = conn.execute(query.order_by(erasure_approval.c.at)).all()
        return [Approval(row.plan_digest, row.by, row.at, row.reason) for row in rows]

    def note(self, request_id: str, kind: str, actor: str, detail: Mapping[str, Any]) -> None:
        """Append to the history without a change: a refusal is evidence too."""
        with self._db.writing() as conn:
            self._note(conn, request_id, _row(conn, request_id).tenant_id, kind, actor, detail)

    def events(self, request_id: str) -> Sequence[RequestEvent]:
        """The history, oldest first."""
        query = sa.select(erasure_event).where(erasure_event.c.request_id == request_id)
        with self._db.reading() as conn:
            return [RequestEvent(**row._mapping) for row in conn.execute(query.order_by(erasure_event.c.seq))]

    def _change(
        self, request: Request, kind: str, actor: str, detail: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Request:
        with self._db.writing() as conn:
            self._compare_and_set(conn, request, changes)
            self._note(conn, request.id, request.tenant, kind, actor, detail)
        return self.get(request.id)

    def _compare_and_set(self, conn: Connection, request: Request, changes: Mapping[str, Any]) -> None:
        changed = conn.execute(
            erasure_request.update()
            .where(
                erasure_request.c.id == request.id,
                erasure_request.c.state == request.state,
                erasure_request.c.version == request.version,
            )
            .values(version=request.version + 1, **changes)
        )
        if changed.rowcount != 1:
            raise WrongState(
                f"request {request.id} was changed by somebody else meanwhile",
                next_step=f"look at it again: tenantctl erase get {request.id}",
            )

    def _note(
        self,
        conn: Connection,
        request_id: str,
        tenant: str,
        kind: str,
        actor: str,
        detail: Mapping[str, Any],
    ) -> None:
        """Append to the history and to the audit log; comes last in a transaction."""
        conn.execute(
            erasure_event.insert().values(
                request_id=request_id, at=self._db.clock(), kind=kind, actor=actor, detail=dict(detail)
            )
        )
        happening = Happening(
            f"request {kind}", actor, tenant=tenant, operation_id=request_id,
            before=str(detail.get("from", "")), after=kind if "from" in detail else "",
            digest=_hex(detail.get("plan")), detail=detail,
        )  # fmt: skip
        audit.append(self._db, conn, happening)


def _hex(digest: str | None) -> str:
    return (digest or "").removeprefix("sha256:")


def _row(conn: Connection, request_id: str) -> Row[Any]:
    row = conn.execute(sa.select(erasure_request).where(erasure_request.c.id == request_id)).one_or_none()
    if row is None:
        raise _unknown(request_id)
    return row


def _request_of(row: Row[Any]) -> Request:
    return Request(
        id=row.id,
        tenant=TenantId(row.tenant_id),
        aliases=tuple(row.aliases),
        scope=tuple(row.scope),
        ground=Ground(row.ground),
        ticket=row.ticket,
        requested_by=row.requested_by,
        received_at=row.received_at,
        deadline=Deadline(row.received_at, row.extended_because, row.notice, row.extended_at),
        state=RequestState(row.state),
        version=row.version,
        why=row.why,
        plan_digest=row.plan_digest,
        planned_at=row.planned_at,
        cooling_until=row.cooling_until,
        operation_id=row.operation_id,
        out_of_scope=dict(row.out_of_scope),
    )


def _unknown(text: str) -> UnknownRequest:
    return UnknownRequest(f"no request {text!r}", next_step="tenantctl erase list")
