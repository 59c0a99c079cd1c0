"""One attempt to make the other side the writer: the only code that ends one writer and begins another.

Order, and what each step protects:

1. The proof is complete and small, both feeds run, nothing blocks: else there is no attempt (I5, I7).
2. Fence the source: writers in flight are drained, new ones wait, for at most the fence's time to live (I6).
3. A marker in every store's stream, acknowledged by its applier: the target has every acknowledged write (I2).
4. Compare what was touched since it was last compared: nothing differs (I5). Raise sequences.
5. Commit point: source FENCED -> MOVED while the deadline holds (I1). Before it, recovery releases; after it,
   recovery goes forward.
6. Activate the target. Waiting writers are told TL001 and go there.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.errors import (
    FlipAbandoned,
    LifecycleError,
    PreconditionRefused,
    StoreError,
    VerificationFailed,
)
from tenant_lifecycle.model.flip import FlipBudget, FlipTiming
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.pairs import Pair
from tenant_lifecycle.operations.proof import Proof, count
from tenant_lifecycle.stores.base import Fences, Follower, Schemas

#: So few items are compared under the fence in a few milliseconds; more are worth another look before it.
FEW_ITEMS, SHRINKING_LOOKS = 40, 3


class Fencing(Protocol):
    """A fence that is up already, and whose holder lends it to attempts."""

    def close(self, epoch: int, budget: FlipBudget) -> str:
        """Nobody writes until the ticket's end; returns the ticket.

        Raises:
            FlipAbandoned: the fence was lost.
            StoreBusy: somebody holds the tenant's lock longer than the budget.
            WindowOver: there is no time left.
        """

    def reopen(self, ticket: str) -> None:
        """The attempt is given up."""

    def committed(self) -> None:
        """The attempt's commit point was passed."""


@dataclass(frozen=True)
class Direction:
    """Everything a flip from ``pair.source`` to ``pair.target`` needs, open and running."""

    pair: Pair
    tenant: TenantId
    #: One per store, by store name.
    proofs: dict[str, Proof]
    #: The other direction's followers: they must be alive before the flip, for they are the way back.
    way_back: dict[str, Follower]
    #: Who holds the writes already, in a maintenance window; None: the attempt puts the fence up itself.
    fencing: Fencing | None = None

    def close(self, epoch: int, budget: FlipBudget) -> str:
        """The source's fence, put up for this attempt; returns its ticket."""
        if self.fencing is not None:
            return self.fencing.close(epoch, budget)
        return self.source.fence(self.tenant, epoch, budget.fence_ttl_s, budget.lock_s)

    def reopen(self, ticket: str) -> None:
        """The attempt is given up: writes go on, or the window does."""
        if self.fencing is not None:
            self.fencing.reopen(ticket)
        else:
            self.source.release(self.tenant, ticket)

    @property
    def source(self) -> Fences:
        source = self.pair.judge.source
        assert isinstance(source, Fences)
        return source

    @property
    def target(self) -> Fences:
        target = self.pair.judge.target
        assert isinstance(target, Fences)
        return target


def make_ready(direction: Direction, budget: FlipBudget) -> None:
    """Bring everything to the point where only milliseconds are left, or say why not.

    Raises:
        FlipAbandoned: lag, dirty items or a blocking session; try again later.
        VerificationFailed: the sides differ.
        FeedError: a feed is down.
    """
    for follower in direction.way_back.values():
        follower.check()
    blockers = direction.source.blockers(direction.tenant, budget.lock_s)
    if blockers:
        raise FlipAbandoned("no flip while " + "; ".join(blockers), next_step="it is tried again by itself")
    for proof in direction.proofs.values():
        if proof.outdated():
            raise FlipAbandoned(
                f"{proof.pair.source.name} is not verified against {proof.pair.target.name} yet"
            )
        settles_s = proof.follower.settles_in_s()
        if settles_s > budget.marker_s and direction.fencing is None:
            raise PreconditionRefused(
                f"comparing all of {proof.pair.source.name} takes {settles_s:.1f} s, and a flip has {budget.marker_s} s: "
                "without the client or hints its last changes cannot be carried over under the fence",
                next_step="abort, and start again with --strategy maintenance_window; or use the client or hints for it",
            )
        if settles_s > budget.marker_s:
            _survey_in_window(proof)
        left = _shrink(proof)
        lag = proof.follower.lag()
        if left > budget.dirty_items:
            raise FlipAbandoned(
                f"{left} items changed within the last moment, more than {budget.dirty_items}"
            )
        if lag.seconds > budget.lag_s:
            raise FlipAbandoned(
                f"{proof.pair.target.name} is {lag.seconds:.2f} s behind, more than {budget.lag_s} s"
            )


def _survey_in_window(proof: Proof) -> None:
    """Compare all of a store that cannot be compared within a flip, while the window's fence is up.

    Raises:
        FlipAbandoned: not within the follower's patience.
    """
    follower = proof.follower
    if not follower.await_marker(follower.mark(), follower.patience_s()):
        raise FlipAbandoned(f"{proof.pair.source.name} could not be compared in full")


def _shrink(proof: Proof) -> int:
    """Look at what is dirty until only what was written during the last look is left, or it no longer shrinks.

    What is left has to be compared while writers wait, and a look takes less time the fewer items there are.
    """
    left = proof.shrink()
    for _ in range(SHRINKING_LOOKS):
        if left <= FEW_ITEMS:
            break
        before, left = left, proof.shrink()
        if left >= before:
            break
    return left


def attempt(direction: Direction, epoch: int, budget: FlipBudget) -> FlipTiming:
    """Flip once; on return the target is the writer at ``epoch + 1``.

    Every proof was complete and not outdated a moment ago; whether that still holds is asked under the fence.

    Raises:
        FlipAbandoned: a budget ran out before the commit point; the source goes on as writer.
        VerificationFailed: the dirty items differ; the source goes on as writer.
        StoreBusy: somebody holds the tenant's lock; the source goes on as writer.
    """
    began = time.perf_counter()
    ticket = direction.close(epoch, budget)
    drained = time.perf_counter()
    try:
        marked, compared, raised, dirty = _settle_under_fence(direction, budget)
        committed = direction.source.commit_move(direction.tenant, ticket, direction.pair.target)
    except LifecycleError:
        # If the source does not answer, the fence's deadline does the same a moment later.
        with suppress(StoreError):
            direction.reopen(ticket)
        raise
    if not committed:
        raise FlipAbandoned("the fence ran out before the commit point; writes went on at the source")
    moved = time.perf_counter()
    if direction.fencing is not None:
        direction.fencing.committed()
    direction.target.activate(direction.tenant, epoch + 1)
    done = time.perf_counter()
    return FlipTiming(
        drain_ms=(drained - began) * 1e3,
        marker_ms=(marked - drained) * 1e3,
        compare_ms=(compared - marked) * 1e3,
        counters_ms=(raised - compared) * 1e3,
        commit_ms=(moved - raised) * 1e3,
        activate_ms=(done - moved) * 1e3,
        dirty_items=dirty,
    )


def _settle_under_fence(direction: Direction, budget: FlipBudget) -> tuple[float, float, float, int]:
    """Steps 3 and 4, in every store at once; returns the moments after markers, comparison and counters, and
    the items compared."""
    deadline = time.monotonic() + budget.marker_s
    with ThreadPoolExecutor(2 * len(direction.proofs) + 1) as beside:
        # Nobody draws numbers under the fence, so this need not wait for the appliers.
        raising = beside.submit(_raise_counters, direction, budget)
        outdated = {name: beside.submit(proof.outdated) for name, proof in direction.proofs.items()}
        settling = [
            beside.submit(_settle_store, name, proof, deadline, _surveyed(direction, proof, budget))
            for name, proof in direction.proofs.items()
        ]
        settled = [one.result() for one in settling]
        for name, answer in outdated.items():
            if answer.result():
                raise FlipAbandoned(f"changes of {name} may have been missed; it is verified again first")
        compared = time.perf_counter()
        raising.result()
    marked = max(moment for moment, _ in settled)
    return marked, compared, time.perf_counter(), sum(dirty for _, dirty in settled)


def _surveyed(direction: Direction, proof: Proof, budget: FlipBudget) -> bool:
    """Whether all of the store was compared under the window's fence already, because a flip has no time for it."""
    return direction.fencing is not None and proof.follower.settles_in_s() > budget.marker_s


def _settle_store(name: str, proof: Proof, deadline: float, surveyed: bool) -> tuple[float, int]:
    """Let the last changes of one store arrive, and compare what is dirty; the moment between, and how many."""
    marker = "" if surveyed else proof.follower.mark()
    if marker and not proof.follower.await_marker(marker, max(0.0, deadline - time.monotonic())):
        raise FlipAbandoned(f"the last changes did not reach {name} in time")
    marked = time.perf_counter()
    differences = proof.final_differences()
    if differences:
        proof.complete = False
        first = differences[0]
        raise VerificationFailed(
            f"{len(differences)} item(s) differ under the fence; first: {first.set}: {first.kind.value}"
        )
    return marked, count(proof.dirty)


def _raise_counters(direction: Direction, budget: FlipBudget) -> None:
    """Sequences of the target above the source's, so that the new writer hands out no number twice."""
    for pair in direction.pair.stores:
        if isinstance(pair.source, Schemas):
            pair.source.carry_counters(pair.target, direction.tenant, budget.counter_margin)
