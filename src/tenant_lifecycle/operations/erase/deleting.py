"""Deleting batch by batch, and bringing what was deleted out of what stays behind.

A system that is down for good, read-only or refuses ends with what failed, so that the others go on; the outcome
says so, and the erasure is never done for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.operations.erase.batches import Deleting
from tenant_lifecycle.operations.erase.opening import failure_of, parts_of
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.stores.erasing import Erases

_DAY_S = 86400.0


def erase(ctx: StepContext) -> Outcome:
    """Step: delete what the manifest names, in its order. Key: ``erase/ROUND/SYSTEM``."""
    session: ErasureSession = ctx.session
    try:
        return Done(_erase(ctx, session))
    except StoreError as error:
        return Done({"failure": failure_of(ctx, error)})


def _erase(ctx: StepContext, session: ErasureSession) -> dict[str, Any]:
    began = ctx.now()
    number, name = parts_of(ctx.key)
    deleting = Deleting(
        session.operation_id,
        session.erasing,
        sorted(session.request.names),
        session.gate,
        session.manifests,
    )
    stayed = deleting.delete(ctx, number, name, session.eraser(name), session.planned(name).retained or {})
    deleted, gone = session.manifests.totals(session.operation_id, number, name)
    return {"deleted": deleted, "gone": gone, "kept": stayed.kept, "held": stayed.held, "began": began}


def settle(ctx: StepContext) -> Outcome:
    """Step: vacuum, rewrite, flush, whatever the system needs. Key: ``settle/ROUND/SYSTEM``."""
    session: ErasureSession = ctx.session
    session.register.advance(
        session.request.id, RequestState.SETTLING, why="deleted data is being cleaned out"
    )
    number, name = parts_of(ctx.key)
    store = session.eraser(name)
    frozen = session.manifests.frozen(session.operation_id, number, name)
    try:
        settled = store.settle(session.erasing, sorted({one.set for one in frozen.sets}), ctx.check)
    except StoreError as error:
        return Done({"failure": failure_of(ctx, error)})
    told: dict[str, Any] = {
        "done": list(settled.done),
        "left": list(settled.left),
        "traces": list(settled.traces),
    }
    if settled.destroyed:
        told["destroyed"] = dict(settled.destroyed)
    return Done({**told, "at": ctx.now(), **_horizon(store, ctx.now())})


def _horizon(store: Erases, now: float) -> Mapping[str, Any]:
    horizon = store.horizon()
    if horizon is None:
        return {}
    return {"horizon": now + horizon.days * _DAY_S, "horizon_level": horizon.level.value}
