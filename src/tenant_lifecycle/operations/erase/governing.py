"""What people do to a request before anything is deleted: have it planned, approve, deny, start, extend, cancel.

A refusal is evidence too: it goes into the request's history before the error is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tenant_lifecycle.errors import LifecycleError, PlanChanged, PreconditionRefused, WrongState
from tenant_lifecycle.model.erasure.people import Approval, counting, refuse_approval
from tenant_lifecycle.model.erasure.plan import ErasurePlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import PAST_RETURN, Request, RequestState
from tenant_lifecycle.model.operation import NewOperation
from tenant_lifecycle.operations.erase.definition import Erase
from tenant_lifecycle.operations.erase.planning import plan_erasure
from tenant_lifecycle.operations.erase.ports import Gate, Registry
from tenant_lifecycle.operations.erase.systems import System

_CANCELLED_BY_DENIAL = frozenset({RequestState.AWAITING_APPROVAL, RequestState.COOLING_OFF})


@dataclass(frozen=True, slots=True)
class Governing:
    """The rules for people, over the register of requests and that of holds."""

    requests: Registry
    holds: Gate
    policy: ErasurePolicy

    def plan(self, request: Request, systems: Sequence[System], *, actor: str, now: float) -> ErasurePlan:
        """Find out what would go and keep it as the request's plan; earlier approvals count no more.

        Raises:
            WrongState: it is running or over.
        """
        request = self.requests.move(request, RequestState.SCOPING, actor=actor, why="being planned")
        made = plan_erasure(request, systems, self.policy, self.holds.blocking(request.names), now)
        to = RequestState.PLAN_READY if made.refusals else RequestState.AWAITING_APPROVAL
        if made.wholly_held:
            to = RequestState.BLOCKED_BY_HOLD
        self.requests.store_plan(request, made, to, actor=actor)
        return made

    def approve(
        self, request: Request, plan_digest: str, *, actor: str, now: float, reason: str = ""
    ) -> Request:
        """Approve the plan with this digest; with the last approval needed the cooling-off begins.

        Raises:
            PlanChanged: it is not the request's plan.
            PreconditionRefused: by the requester, by the same person twice, or a hold keeps all of it.
            WrongState: there is nothing to approve now.
        """
        approval = Approval(plan_digest, actor, now, reason)
        with self._noting(request, "approve", actor):
            self._expect(request, RequestState.AWAITING_APPROVAL, "approved")
            given = self.requests.approvals(request.id)
            refuse_approval(
                given, approval, request.requested_by, request.plan_digest, self.policy.approval_valid_s
            )
            self._refuse_if_held(request, actor)
        request = self.requests.approve(request, approval)
        if len(self._counting(request, now)) < self.policy.approvals:
            return request
        until = now + self.policy.cooling_off_s
        return self.requests.move(
            request, RequestState.COOLING_OFF, actor=actor, why="approved", cooling_until=until
        )

    def deny(self, request: Request, *, actor: str, reason: str) -> Request:
        """Refuse the request for a reason, which the person who asked has to be told.

        Raises:
            PreconditionRefused: no reason.
            WrongState: it is running or over.
        """
        if not reason.strip():
            raise PreconditionRefused("a denial needs a reason", next_step="give --reason")
        to = RequestState.CANCELLED if request.state in _CANCELLED_BY_DENIAL else RequestState.REJECTED
        return self.requests.move(request, to, actor=actor, why=reason)

    def begin(
        self, request: Request, *, actor: str, now: float, if_plan: str | None = None, reason: str = ""
    ) -> NewOperation:
        """The operation to be recorded for an approved request whose cooling-off is over.

        Raises:
            PreconditionRefused: cooling off still, approvals have expired, or a hold keeps all of it.
            PlanChanged: the plan's digest is not ``if_plan``.
            WrongState: it is not approved.
        """
        with self._noting(request, "start", actor):
            self._expect(request, RequestState.COOLING_OFF, "started")
            if if_plan is not None and if_plan != request.plan_digest:
                raise PlanChanged(f"the plan is {request.plan_digest}, not {if_plan}")
            if request.cooling_until is None or now < request.cooling_until:
                left = (request.cooling_until or now) - now
                raise PreconditionRefused(
                    f"the cooling-off is over in {left / 3600:.1f} h",
                    next_step=f"until then it can be cancelled: tenantctl erase cancel {request.id}",
                )
            self._refuse_if_expired(request, actor, now)
            self._refuse_if_held(request, actor)
        plan = self.requests.plan(request.id)
        assert plan is not None, "an approved request has a plan"
        return _operation(request, plan, self.policy, actor, reason)

    def extend(self, request: Request, reason: str, notice: str, *, actor: str, now: float) -> Request:
        """Take two more months; see `Deadline.extended`."""
        with self._noting(request, "extend", actor):
            longer = request.deadline.extended(reason, notice, now)
        return self.requests.extend(request, longer, actor=actor)

    def cancel(self, request: Request, *, actor: str, reason: str) -> Request:
        """End a request of which no operation runs.

        Raises:
            WrongState: past the point of no return, or over.
        """
        with self._noting(request, "cancel", actor):
            if request.state in PAST_RETURN:
                raise WrongState(
                    f"request {request.id} is past the point of no return ({request.state})",
                    next_step=f"a legal hold stops what is left: tenantctl hold add; tenantctl erase get {request.id}",
                )
            return self.requests.move(request, RequestState.CANCELLED, actor=actor, why=reason)

    def _expect(self, request: Request, state: RequestState, what: str) -> None:
        if request.state is not state:
            raise WrongState(
                f"request {request.id} is {request.state} and cannot be {what} now",
                next_step=f"tenantctl erase get {request.id}",
            )

    def _counting(self, request: Request, now: float) -> list[Approval]:
        given = self.requests.approvals(request.id)
        return counting(given, request.plan_digest, now, self.policy.approval_valid_s)

    def _refuse_if_expired(self, request: Request, actor: str, now: float) -> None:
        if len(self._counting(request, now)) >= self.policy.approvals:
            return
        self.requests.move(request, RequestState.AWAITING_APPROVAL, actor=actor, why="approvals have expired")
        raise PreconditionRefused(
            "not enough approvals of this plan count still; they expire",
            next_step=f"have it approved again: tenantctl erase approve {request.id}",
        )

    def _refuse_if_held(self, request: Request, actor: str) -> None:
        plan = self.requests.plan(request.id)
        systems = plan.systems if plan else ()
        holds = self.holds.blocking(request.names)
        whole = [hold for hold in holds if all(hold.covers(one.system) for one in systems)]
        if whole:
            why = f"hold {whole[0].id} keeps all of it"
            self.requests.move(request, RequestState.BLOCKED_BY_HOLD, actor=actor, why=why)
            raise PreconditionRefused(why, next_step="tenantctl hold list")

    @contextmanager
    def _noting(self, request: Request, what: str, actor: str) -> Iterator[None]:
        try:
            yield
        except LifecycleError as error:
            self.requests.note(request.id, "refused", actor, {"what": what, "error": type(error).__name__})
            raise


def _operation(
    request: Request, plan: ErasurePlan, policy: ErasurePolicy, actor: str, reason: str
) -> NewOperation:
    erased = [one.system for one in plan.systems if one.sets or one.digest]
    return NewOperation(
        kind=Erase.kind,
        definition=Erase.name,
        tenant_id=request.tenant,
        requested_by=actor,
        spec={"request": request.id, "systems": erased, "rescans": len(policy.rescans_s)},
        plan={"systems": [[one.system, one.kind, one.items] for one in plan.systems]},
        plan_hash=plan.digest,
        reason=reason,
    )
