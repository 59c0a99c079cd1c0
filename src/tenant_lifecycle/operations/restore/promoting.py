"""In place of the live tenant: safety copy, fence, every store made equal to its preview, and the commit point.

The fence is the one of maintenance windows: renewed while a driver lives, gone within its time to live if none does.
A writer may then have been there between one store and the next, so the attempt only counts if the fence held from
before the first store until after the last. The judge says so in one statement, as for a flip: fenced by our ticket,
so the epoch grows. Anything else means: all stores once more, which changes only what differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tenant_lifecycle.backups.contract import HasTimelines
from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import FlipAbandoned, StoreError, WindowOver
from tenant_lifecycle.model.backup.manifest import RestoreWindow
from tenant_lifecycle.operations.backup.definition import base_document, base_of
from tenant_lifecycle.operations.backup.session import Judge
from tenant_lifecycle.operations.backup.taking import now_us, read_back
from tenant_lifecycle.operations.migrate.holding import DRAIN_S, HeldWindow
from tenant_lifecycle.operations.restore.session import RestoreSession
from tenant_lifecycle.stores.base import FenceState

PROMOTE = "promote"
DISCARD = "discard"
#: Label of a base: the restore that it is the safety copy of, or the first of the time-line after it.
SAFETY = "before-restore"
AFTER = "after-restore"
#: A log that is complete until so recently has everything that a safety copy may miss.
FRESH_S = 120.0
_RETRY_S = 0.5


def decide(ctx: StepContext) -> Outcome:
    """Step: wait for a person's word about the preview; without one it is discarded."""
    session: RestoreSession = ctx.session
    if ctx.operation.spec.get("preview_only"):
        accepted: tuple[str, ...] = (DISCARD,)
    else:
        accepted = (PROMOTE, DISCARD)
    until = float(ctx.cursor or ctx.now() + session.policy.preview_s)
    ctx.progress(0, cursor=until)
    while (signal := ctx.take_signal(*accepted)) is not None:
        own = signal.actor == ctx.operation.requested_by
        if signal.kind == PROMOTE and own and session.policy.four_eyes:
            ctx.event("promote-refused", why="who asked for the restore may not promote it")
            continue
        return Done({"next": signal.kind, "by": signal.actor})
    if ctx.now() >= until:
        return Done({"next": DISCARD, "by": "engine"})
    return Wait(until, accepted, "look at it (tenantctl restore diff), then promote or discard")


def arm(ctx: StepContext) -> Outcome:
    """Step: the tenant has a fence; at which epoch, once for all drivers."""
    session: RestoreSession = ctx.session
    row = session.backup.judge.arm(session.backup.tenant, FenceState.ACTIVE, 1, None)
    repository = session.backup.repository
    following = repository.timeline() + 1 if isinstance(repository, HasTimelines) else 0
    return Done({"epoch": row.epoch, "timeline": following})


def disarm(ctx: StepContext) -> Outcome:
    """Step, and undo of `arm`: no fence is left where there was none before."""
    session: RestoreSession = ctx.session
    if not ctx.outputs["check"]["managed"]:
        session.backup.judge.disarm(session.backup.tenant)
    return Done()


def safety(ctx: StepContext) -> Outcome:
    """Step: what is live now is in the repository, readable. Where no log goes on from it, it is taken fenced."""
    session: RestoreSession = ctx.session
    if not is_fresh(session.backup.repository.window(), ctx.now()):
        return Done({"fenced": True})
    return Done(_copy(ctx, SAFETY))


def is_fresh(window: RestoreWindow, now: float) -> bool:
    """Whether the log of all stores is complete until a moment ago, so that the copy and it leave nothing out."""
    return bool(window.intervals) and window.intervals[-1].to_us >= (now - FRESH_S) * 1e6


def _copy(ctx: StepContext, label: str) -> dict[str, object]:
    session: RestoreSession = ctx.session
    name = f"{ctx.operation.id}/{label}"
    manifest = base_of(ctx, session.backup, name, {label: ctx.operation.id})
    read_back(session.backup.repository, manifest, ctx.check)
    return base_document(manifest)


def promote(ctx: StepContext) -> Outcome:
    """Step: every store is what its preview is, nobody wrote in between, and the epoch has grown.

    Raises:
        FlipAbandoned: the fence was lost meanwhile; all of it again.
        WindowOver: the stores take longer than writes may be held.
    """
    session: RestoreSession = ctx.session
    judge, tenant = session.backup.judge, session.backup.tenant
    epoch = int(ctx.outputs["arm"]["epoch"])
    output: dict[str, object] = {}
    row = judge.fence_row(tenant)
    if row is None or row.epoch <= epoch:
        with _held(ctx, judge, epoch) as window:
            if ctx.outputs["safety"].get("fenced"):
                output["safety"] = _copy(ctx, SAFETY)
            _begin_timeline(ctx)
            output["changed"] = _replace_all(ctx, window)
            output["held_s"] = _commit(session, judge, window, epoch)
        row = judge.fence_row(tenant)
    if row is not None and row.state is FenceState.MOVED:
        judge.activate(tenant, row.epoch + 1)
    return Done(output)


def _begin_timeline(ctx: StepContext) -> None:
    """What is written from here on is none of the moments that clients made."""
    session: RestoreSession = ctx.session
    repository = session.backup.repository
    if isinstance(repository, HasTimelines):
        repository.begin_timeline(ctx.outputs["arm"]["timeline"], now_us(), session.chosen.at_us)


@contextmanager
def _held(ctx: StepContext, judge: Judge, epoch: int) -> Iterator[_Window]:
    """Writes are held while the block runs."""
    session: RestoreSession = ctx.session
    length, now = session.policy.window_s, ctx.now()
    window = HeldWindow(judge, judge, session.backup.tenant, session.backup.flip, now + length, length)
    # What a driver before us left: its ticket is not known here.
    judge.release(session.backup.tenant, None)
    began = time.monotonic()
    window.open(epoch, DRAIN_S)
    try:
        yield _Window(window, began)
    except WindowOver as error:
        raise WindowOver(
            f"replacing the data took longer than the {length:g} s that writes may be held; some stores are restored "
            "and some are not",
            next_step="give it longer (backups: restore: window) and repeat: tenantctl op retry",
        ) from error
    finally:
        window.end()


class _Window:
    """The window that is open, and since when."""

    def __init__(self, held: HeldWindow, began: float) -> None:
        self.held, self.began = held, began


def _replace_all(ctx: StepContext, window: _Window) -> Mapping[str, Mapping[str, int]]:
    session: RestoreSession = ctx.session
    changed = {}
    # Whose a key is may hang on rows that the first store replaces: previews note the ids of before.
    for name in ctx.operation.spec["stores"]:
        session.preview(name)
    for name in ctx.operation.spec["stores"]:
        sets = list(session.only[name]) if session.only else None
        changed[name] = _replace(ctx, window, name, sets)
        ctx.publish({"promoted": list(changed)})
    return changed


def _replace(ctx: StepContext, window: _Window, name: str, sets: Sequence[str] | None) -> Mapping[str, int]:
    """One store; one that does not answer is asked again while the window lasts, for others are restored already."""
    session: RestoreSession = ctx.session

    def check() -> None:
        ctx.check()
        window.held.check()

    while True:
        check()
        try:
            return dict(session.preview(name).promote(session.backup.writing, sets, check))
        except StoreError as error:
            if not error.retryable:
                raise
            ctx.publish({"waits_for": name})
            time.sleep(_RETRY_S)


def _commit(session: RestoreSession, judge: Judge, window: _Window, epoch: int) -> float:
    """The commit point; how long writes were held."""
    held = window.held
    with held.attempt():
        ticket = held.close(epoch, session.backup.flip)
        if not judge.commit_move(session.backup.tenant, ticket, session.backup.environment):
            raise FlipAbandoned("the fence ran out while the data was replaced; it is replaced once more")
        held.committed()
    return round(time.monotonic() - window.began, 3)


def rebase(ctx: StepContext) -> Outcome:
    """Step: the new time-line begins with a base of its own, because what was restored was not written by clients."""
    return Done(_copy(ctx, AFTER))
