"""A maintenance window while it is open: the fence kept up by renewing it, and never beyond the window's end.

The fence lives as shortly as any other: if everything of ours dies, writes go on at the source within its time to
live. A driver that takes over puts it up again for what is left of the window. What was written in between is in the
feed, which was created before the window opened; so a fence that was lost costs time, never a write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import FlipAbandoned, StoreError, WindowOver, WrongState
from tenant_lifecycle.model.cutover import Action, decide
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.window import moment_text
from tenant_lifecycle.operations.migrate.provision import seen
from tenant_lifecycle.operations.migrate.session import FORWARD, Session
from tenant_lifecycle.stores.base import Fences
from tenant_lifecycle.stores.windows import Windows

logger = logging.getLogger(__name__)

#: Renewals within one time to live of the fence: a renewal or two may fail and nobody notices.
RENEWALS = 5
#: For draining writers when the window opens; they are told who is in the way and it is tried again.
DRAIN_S = 5.0


class HeldWindow:
    """Holds one tenant's writes from `open` to `end`, in a thread of its own; the flip takes the fence over."""

    def __init__(
        self,
        fences: Fences,
        windows: Windows,
        tenant: TenantId,
        budget: FlipBudget,
        ends_at: float,
        left_s: float,
    ) -> None:
        """``ends_at`` is for people; ``left_s`` counts from now."""
        self._fences, self._windows, self._tenant, self._budget = fences, windows, tenant, budget
        self.ends_at = ends_at
        self._ends = time.monotonic() + left_s
        self._epoch = 0
        self._ticket: str | None = None
        #: Why the fence was lost, once for each time; not told yet.
        self._lost: list[str] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"window of {tenant!r}", daemon=True)

    @property
    def left_s(self) -> float:
        """Seconds until the window's end, by our own clock; the store has one too."""
        return self._ends - time.monotonic()

    def open(self, epoch: int, drain_s: float) -> None:
        """Hold writes from now on.

        Raises:
            WindowOver: it has ended.
            StoreBusy, WrongState: as `Windows.hold_writes`.
        """
        self.check()
        self._epoch = epoch
        self._ticket = self._windows.hold_writes(
            self._tenant, epoch, self._budget.fence_ttl_s, min(drain_s, self.left_s), self.left_s
        )
        self._thread.start()

    def check(self) -> None:
        """A safe point.

        Raises:
            WindowOver: it has ended; the fence ended with it, by the store's clock.
        """
        if self.left_s <= 0:
            raise WindowOver(
                f"the maintenance window ended at {moment_text(self.ends_at)} before the move was done; "
                "writes go on at the source, and the move is taken back",
                next_step="start again with a longer window (--window-for), more --workers, or --strategy zero_downtime",
            )

    def take_lost(self) -> list[str]:
        """Why the fence was lost since the last call; it is up again, or will be."""
        with self._lock:
            lost, self._lost = self._lost, []
        return lost

    def end(self) -> None:
        """Stop renewing and let writes go on at once; safe to repeat, and after a flip nothing happens."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            ticket, self._ticket = self._ticket, None
        if ticket is not None:
            # If the store does not answer, the fence's deadline does the same a moment later.
            with suppress(StoreError):
                self._fences.release(self._tenant, ticket)

    # -- for a flip: see `flip.Fencing`

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """For the length of an attempt nobody but the attempt changes the fence."""
        with self._lock:
            yield

    def close(self, epoch: int, budget: FlipBudget) -> str:
        """The window's fence becomes the flip's; raises as `flip.Fencing.close`."""
        self.check()
        ticket = self._renew()
        if ticket is None:
            raise FlipAbandoned("the window's fence was lost; it is put up again first")
        try:
            self._ticket = self._windows.tighten(
                self._tenant, epoch, ticket, budget.fence_ttl_s, budget.lock_s
            )
        except WrongState as error:
            raise FlipAbandoned(f"the window's fence was lost: {error}") from error
        return self._ticket

    def reopen(self, ticket: str) -> None:
        """The attempt was given up: the window goes on."""
        try:
            self._ticket = self._windows.loosen(
                self._tenant, ticket, self._budget.fence_ttl_s, max(self.left_s, 0.0)
            )
        except StoreError as error:
            self._ticket = None
            self._lost.append(str(error))

    def committed(self) -> None:
        """The tenant moved: there is no fence of ours any more."""
        self._ticket = None
        self._stopping.set()

    # -- keeping it up

    def _run(self) -> None:
        while not self._stopping.wait(self._budget.fence_ttl_s / RENEWALS) and self.left_s > 0:
            with self._lock:
                if not self._stopping.is_set():
                    self._keep()

    def _keep(self) -> None:
        if self._ticket is not None and self._renew() is None:
            logger.warning("the fence of a maintenance window was lost; it is put up again")
            self._lost.append("its fence was not renewed in time")
        if self._ticket is None:
            # Until an old fence of ours has run out this is refused; then writers may have been here.
            with suppress(StoreError, WrongState):
                self._ticket = self._windows.hold_writes(
                    self._tenant, self._epoch, self._budget.fence_ttl_s, self._budget.lock_s, self.left_s
                )

    def _renew(self) -> str | None:
        if self._ticket is None:
            return None
        try:
            self._ticket = self._windows.renew(self._tenant, self._ticket, self._budget.fence_ttl_s)
        except StoreError:
            # Renewed or not, nobody knows under which ticket.
            self._ticket = None
        return self._ticket


def await_window(ctx: StepContext) -> Outcome:
    """Step: wait until the window opens; its output says when it ends, once for all drivers.

    Raises:
        WindowOver: nobody drove until it was over.
    """
    announced = ctx.operation.spec["window"]
    opens = announced["opens_at"] or ctx.now()
    if ctx.now() < opens:
        return Wait(until=opens, why=f"the maintenance window opens at {moment_text(opens)}")
    ends = opens + float(announced["seconds"])
    if ctx.now() >= ends:
        raise WindowOver(
            f"the maintenance window ended at {moment_text(ends)} before anything was begun",
            next_step="see that a worker runs (tenantctl worker run), then start again with another window",
        )
    return Done({"opened": ctx.now(), "ends": ends})


def hold_writes(ctx: StepContext) -> Outcome:
    """Step: writes of the tenant are refused from here on, with the window's end, until the flip."""
    hold(ctx)
    return Done({"until": moment_text(ctx.outputs["window"]["ends"])})


def in_window(run: Callable[[StepContext], Outcome]) -> Callable[[StepContext], Outcome]:
    """The step under the window's fence: put up again by a driver that took over, as long as there is a window."""

    def step(ctx: StepContext) -> Outcome:
        hold(ctx)
        return run(ctx)

    return step


def hold(ctx: StepContext) -> None:
    """See to it that the window's fence is up and kept up; after the commit point there is nothing to hold.

    Raises:
        WindowOver: the window has ended.
        StoreBusy: writers in flight were not drained; tried again.
    """
    session: Session = ctx.session
    if session.window is not None:
        return
    source, target = session.fences(FORWARD)
    here, there = source.fence_row(session.tenant), target.fence_row(session.tenant)
    if here is None or decide(seen(here), seen(there)) not in (Action.ATTEMPT, Action.RELEASE):
        return
    assert isinstance(source, Windows)
    ends = float(ctx.outputs["window"]["ends"])
    window = HeldWindow(source, source, session.tenant, session.policy.flip, ends, ends - ctx.now())
    window.check()
    # What a driver before us left: its ticket is not known here.
    source.release(session.tenant, None)
    window.open(here.epoch, DRAIN_S)
    session.window = window
    ctx.event("writes-held", until=moment_text(ends))


def tell_lost(session: Session, tell: Callable[..., Any]) -> None:
    """Put into the operation's history how often the fence was lost."""
    if session.window is not None:
        for why in session.window.take_lost():
            tell("window-lost", why=why)
