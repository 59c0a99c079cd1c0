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
from tenant_lifecycle.operations.erase.opening import failure_of, parts_of
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.stores.erasing import Erased, Erases

_DAY_S = 86400.0


def erase(ctx: StepContext) -> Outcome:
    """Step: delete what the manifest names, in its order. Key: ``erase/ROUND/SYSTEM``."""
    session: ErasureSession = ctx.session
    try:
        return Done(_erase(ctx, session))
    except StoreError as error:
        return Done({"failure": failure_of(ctx, error)})


def _erase(ctx: StepContext, session: ErasureSession) -> dict[str, Any]:
    number, name = parts_of(ctx.key)
    store = session.eraser(name)
    retained = session.planned(name).retained or {}
    passed = 0
    kept: dict[str, int] = {}
    held: dict[str, str] = {}
    for stored in session.manifests.batches(session.operation_id, number, name):
        if stored.erased:
            continue
        items = len(stored.batch.keys)
        if stored.batch.set in retained:
            kept[stored.batch.set] = kept.get(stored.batch.set, 0) + items
            continue
        ctx.check()
        hold = session.gate.begin(
            session.operation_id, session.token, sorted(session.request.names), name, stored.batch.set
        )
        if hold is not None:
            held[stored.batch.set] = hold.matter
            ctx.event("held", system=name, hold=hold.id)
            continue
        result = _delete(ctx, session, store, number, name, stored)
        passed += result.deleted + result.gone
        ctx.progress(passed, cursor=stored.number, detail={"system": name})
    deleted, gone = session.manifests.totals(session.operation_id, number, name)
    return {"deleted": deleted, "gone": gone, "kept": kept, "held": held}


def _delete(
    ctx: StepContext, session: ErasureSession, store: Erases, number: int, name: str, stored: Any
) -> Erased:
    """One announced call; signed off whatever becomes of it."""
    try:
        result = store.erase(session.erasing, stored.batch, ctx.check)
    except BaseException:
        session.gate.end(session.operation_id, session.token)
        raise
    session.manifests.erased(session.operation_id, number, name, stored.number, session.token, result)
    return result


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
    return Done({"done": list(settled.done), "left": list(settled.left), **_horizon(store, ctx.now())})


def _horizon(store: Erases, now: float) -> Mapping[str, Any]:
    horizon = store.horizon()
    if horizon is None:
        return {}
    return {"horizon": now + horizon.days * _DAY_S, "horizon_level": horizon.level.value}
