"""Before the first deletion: approved still, canaries planted, writes refused, everything that will go frozen.

All of it can be taken back, until `no_return`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import PlanChanged, StoreError
from tenant_lifecycle.model.erasure.plan import ErasurePlan, departures
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.session import ErasureSession, erasing_name
from tenant_lifecycle.stores.erasing import CANARY_NAME, Closes, Erasing, Plants

#: Signals that make a waiting erasure look again.
AGAIN = "again"
#: How often an erasure that a hold keeps from beginning looks at the register.
HOLD_POLL_S = 3600.0


def canary_of(operation_id: str) -> str:
    """The marker that is planted as the tenant's own data, and must not be found afterwards."""
    return "tlcanary" + hashlib.sha256(operation_id.encode()).hexdigest()[:24]


def control_marker(control: str) -> str:
    """The marker that is planted for good as the control tenant's data, and must always be found."""
    return "tlcontrol" + hashlib.sha256(control.encode()).hexdigest()[:24]


def check(ctx: StepContext) -> Outcome:
    """Step: the plan that was approved is the request's plan still."""
    session: ErasureSession = ctx.session
    if session.plan.digest != ctx.operation.plan_hash:
        raise PlanChanged(
            "the request has another plan than the one this operation was started with",
            next_step=f"tenantctl erase get {session.request.id}",
        )
    for one in session.plan.systems:
        session.system(one.system)
    return Done({"systems": len(session.plan.systems), "plan": session.plan.digest})


def plant(ctx: StepContext) -> Outcome:
    """Step: put markers that the verifier has to find before, and must not find after."""
    session: ErasureSession = ctx.session
    control = session.policy.control_tenant
    planted: dict[str, int] = {}
    where: dict[str, list[str]] = {}
    for system in _in_scope(session):
        if not isinstance(system.store, Plants):
            continue
        ctx.check()
        places = system.store.plant(session.erasing, canary_of(session.operation_id))
        planted[system.name] = sum(place.items for place in places)
        where[system.name] = sorted({place.place for place in places})
        if control:
            theirs = Erasing(erasing_name(session.operation_id), TenantId(control), session.token)
            system.store.plant(theirs, control_marker(control))
    return Done({"planted": planted, "places": where})


def close(ctx: StepContext) -> Outcome:
    """Step: from now on every store that can refuses the tenant's writes."""
    session: ErasureSession = ctx.session
    closed, cannot = [], []
    for system in _in_scope(session):
        if isinstance(system.store, Closes):
            ctx.check()
            system.store.close_writes(session.erasing)
            closed.append(system.name)
        else:
            cannot.append(system.name)
    session.register.advance(
        session.request.id, RequestState.FENCED, operation_id=session.operation_id,
        why="the tenant's writes are refused",
    )  # fmt: skip
    return Done({"closed": closed, "cannot": cannot})


def reopen(ctx: StepContext) -> Outcome:
    """Undo of `close`."""
    session: ErasureSession = ctx.session
    for system in _in_scope(session):
        if isinstance(system.store, Closes):
            system.store.reopen(session.erasing)
    return Done()


def freeze(ctx: StepContext) -> Outcome:
    """Step: write down everything of one system that will go. Key: ``freeze/ROUND/SYSTEM``."""
    session: ErasureSession = ctx.session
    number, name = parts_of(ctx.key)
    store = session.eraser(name)
    try:
        frozen = session.manifests.freeze(
            session.operation_id, number, name, store.doomed(session.tenant, ctx.check)
        )
    except StoreError as error:
        if number == 1:
            # Nothing is deleted yet: waiting, or cancelling, is better than going on without it.
            raise
        return Done({"failure": failure_of(ctx, error)})
    items = sum(one.items for one in frozen.sets)
    sets = [[one.set, one.method.value, one.items, one.bytes] for one in frozen.sets]
    return Done({"items": items, "sets": sets, "digest": frozen.digest, "batches": frozen.batches})


def failure_of(ctx: StepContext, error: StoreError) -> str:
    """What to note of an error after which others go on; one that is worth another attempt is raised again."""
    session: ErasureSession = ctx.session
    if error.retryable and ctx.attempt < session.policy.attempts:
        raise error
    return f"{type(error).__name__}: {error}"


def shred(ctx: StepContext) -> Outcome:
    """Destroy the key of the manifest: undo of `freeze`, and the last step but one of an erasure."""
    session: ErasureSession = ctx.session
    session.manifests.shred(session.operation_id)
    return Done()


def compare(ctx: StepContext) -> Outcome:
    """Step: what was frozen is what people approved, within the tolerance of the policy.

    Raises:
        PlanChanged: it is not; nothing was deleted, and the request needs a new plan and new approvals.
    """
    session: ErasureSession = ctx.session
    places = ctx.outputs["plant"]["places"]
    planted = {name: _only_planted(session, name, places[name]) for name in places}
    why = departures(session.plan, _as_frozen(session), session.policy.tolerance, planted)
    if why:
        raise PlanChanged(
            f"what would go is not what was approved: {'; '.join(why[:5])}",
            next_step=f"tenantctl erase plan {session.request.id}, and have it approved again",
        )
    return Done({"plan": session.plan.digest})


def await_release(ctx: StepContext) -> Outcome:
    """Step: a hold on everything keeps the erasure before the point of no return; it can be cancelled meanwhile."""
    session: ErasureSession = ctx.session
    ctx.take_signal(AGAIN)
    holds = session.gate.blocking(session.request.names)
    whole = [one for one in holds if all(one.covers(name.system) for name in session.plan.systems)]
    if whole:
        why = f"hold {whole[0].id} keeps all of it"
        session.register.advance(session.request.id, RequestState.BLOCKED_BY_HOLD, why=why)
        return Wait(ctx.now() + HOLD_POLL_S, (AGAIN,), why)
    session.register.advance(session.request.id, RequestState.FENCED, why="no hold keeps all of it")
    return Done()


def no_return(ctx: StepContext) -> Outcome:
    """Step: the point of no return. Nothing is deleted before it, nothing is taken back after it."""
    session: ErasureSession = ctx.session
    session.register.advance(session.request.id, RequestState.ERASING, why="past the point of no return")
    ctx.event("point_of_no_return", plan=session.plan.digest)
    return Done({"at": ctx.now()})


def give_back(ctx: StepContext) -> Outcome:
    """Abort step: the request is cancelled by a person; stopped by an error it needs a new plan."""
    session: ErasureSession = ctx.session
    cause = ctx.operation.cause
    to = RequestState.CANCELLED if cause is None else RequestState.SCOPING
    why = ctx.operation.reason if cause is None else cause.message
    session.register.advance(session.request.id, to, why=why, actor="engine")
    return Done({"request": to.value})


def parts_of(key: str) -> tuple[int, str]:
    """Round and system of a key ``erase/2/blue/postgres``."""
    _, number, name = key.removeprefix("undo/").split("/", 2)
    return int(number), name


def _in_scope(session: ErasureSession) -> list[Any]:
    return [session.system(one.system) for one in session.plan.systems if not one.out_of_scope]


def _only_planted(session: ErasureSession, name: str, places: Sequence[str]) -> frozenset[str]:
    """Sets that nobody approved and that hold nothing but our canary: by their name, or by every key of theirs."""
    approved = {one.set for one in session.planned(name).sets}
    names = (canary_of(session.operation_id).encode(), CANARY_NAME.encode())
    ours: dict[str, bool] = {}
    for stored in session.manifests.batches(session.operation_id, 1, name):
        one = stored.batch
        if one.set not in approved:
            all_ours = one.set in places or all(any(name in key for name in names) for key in one.keys)
            ours[one.set] = ours.get(one.set, True) and all_ours
    return frozenset(found for found, all_ours in ours.items() if all_ours)


def _as_frozen(session: ErasureSession) -> ErasurePlan:
    """The approved plan with the counts of the first round's manifests in it."""
    systems = []
    for one in session.plan.systems:
        if one.out_of_scope or session.system(one.system).erases is None:
            systems.append(one)
            continue
        frozen = session.manifests.frozen(session.operation_id, 1, one.system)
        systems.append(replace(one, sets=frozen.sets, digest=frozen.digest))
    return ErasurePlan(session.plan.request_id, tuple(systems), ())
