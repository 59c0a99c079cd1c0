"""After the live systems are verified: the interim result, rescans, waiting for dates, and the end.

Something that came back reopens the request: another round begins. The end destroys the manifest's key and takes
the tombstones away, and only then is the request over.
"""

from __future__ import annotations

from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.erasure.outcome import Overall
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.model.operation import TenantUpdate
from tenant_lifecycle.operations.erase.certifying import noted
from tenant_lifecycle.operations.erase.opening import AGAIN
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.operations.erase.verifying import evidence_of, judged, look_at
from tenant_lifecycle.stores.erasing import Closes

#: A rescan that could not read everything is tried again after this.
RETRY_S = 3600.0


def interim(ctx: StepContext) -> Outcome:
    """Step: the live systems are verified. Key: ``interim/ROUND``."""
    session: ErasureSession = ctx.session
    session.register.advance(session.request.id, RequestState.LIVE_ERASED, why="live systems are verified")
    return Done({"at": ctx.now()})


def rescan(ctx: StepContext) -> Outcome:
    """Step: look again after a while. Key: ``rescan/ROUND/NUMBER``, counted from 0."""
    session: ErasureSession = ctx.session
    _, number, index = ctx.key.split("/")
    due = ctx.outputs[f"interim/{number}"]["at"] + session.policy.rescans_s[int(index)]
    if ctx.now() < due and ctx.take_signal(AGAIN) is None:
        return Wait(due, (AGAIN,), "waits for the next rescan")
    return _look_at_all(ctx, int(number))


def _look_at_all(ctx: StepContext, number: int) -> Outcome:
    """Look at every system; what came back reopens the request, what cannot be read is tried again."""
    session: ErasureSession = ctx.session
    names = [one.system for one in session.plan.systems if not one.out_of_scope and not one.unsupported]
    looks: dict[str, Any] = {name: look_at(ctx, number, name, ctx.key) for name in names}
    unread = [name for name, one in looks.items() if not one["complete"] or not one["control_found"]]
    if any(_came_back(ctx, number, name, one) for name, one in looks.items()):
        if session.certificates is not None:
            session.certificates.revoke(session.request.id, "a later search found something", actor="engine")
        session.register.advance(
            session.request.id, RequestState.ERASING, why="something came back: reopened"
        )
        ctx.event("resurrection", look=ctx.key)
        return Done({"looks": looks, "next": "again"})
    if unread:
        return Wait(ctx.now() + RETRY_S, (AGAIN,), f"could not search {', '.join(unread)}: tries again")
    return Done({"looks": looks, "next": "on"})


def _came_back(ctx: StepContext, number: int, name: str, look: dict[str, Any]) -> bool:
    """Whether there is more than the last look of the round left there for a reason (locked, retained)."""
    before = ctx.outputs.get(f"look/{number}/2/{name}", {})
    known = before.get("remaining", 0) + before.get("hits", 0)
    return bool(look["remaining"] + look["hits"] > known)


def age(ctx: StepContext) -> Outcome:
    """Step: wait for the last stated date, then look again, or delete what was locked. Key: ``age/ROUND/0``."""
    session: ErasureSession = ctx.session
    number = int(ctx.key.split("/")[1])
    seen = [evidence_of(session, ctx.outputs, number, one.system) for one in session.plan.systems]
    dates = [date for one in seen for date in (one.horizon, one.refused_until) if date is not None]
    if not dates:
        return Done({"next": "on"})
    # The moment itself still counts as before.
    until, why = max(dates) + 1.0, "what remains is beyond use until a stated date"
    if ctx.now() < until:
        session.register.advance(session.request.id, RequestState.BACKUP_AGING, why=why)
        return Wait(until, (), why)
    if any(one.refused for one in seen):
        session.register.advance(session.request.id, RequestState.ERASING, why="locks have ended")
        return Done({"next": "again"})
    return _look_at_all(ctx, number)


def forget(ctx: StepContext) -> Outcome:
    """Step: take the tombstones away; they name the tenant."""
    session: ErasureSession = ctx.session
    for planned in session.plan.systems:
        store = session.system(planned.system).store
        if not planned.out_of_scope and isinstance(store, Closes):
            ctx.check()
            store.forget(session.erasing)
    return Done()


def complete(ctx: StepContext) -> Outcome:
    """Step: the final result. Key: ``complete/ROUND``.

    Raises:
        InvariantViolated: the evidence does not say that it is over.
    """
    session: ErasureSession = ctx.session
    number = int(ctx.key.split("/")[1])
    verdict = judged(session, ctx.outputs, number, ctx.now())
    overall = Overall(verdict["overall"])
    if overall not in (Overall.COMPLETE, Overall.COMPLETE_WITH_EXCEPTIONS):
        raise InvariantViolated(f"the evidence says {overall}, and the erasure was about to end")
    session.register.advance(session.request.id, RequestState.COMPLETED, why=overall.value)
    verdict["certificate"] = noted(ctx.outputs, "final", number)
    return Done(verdict, tenant=TenantUpdate(session.tenant, state="erased"))


def partial(ctx: StepContext) -> Outcome:
    """Step: erased but for what a hold keeps; the release of the hold brings a new plan. Key: ``partial/ROUND``.

    The tenant's writes stay refused: what is kept is restricted.
    """
    session: ErasureSession = ctx.session
    number = int(ctx.key.split("/")[1])
    verdict = judged(session, ctx.outputs, number, ctx.now())
    session.register.advance(session.request.id, RequestState.PARTIAL_HELD, why="a hold keeps a part of it")
    return Done({**verdict, "certificate": noted(ctx.outputs, "partial", number)})
