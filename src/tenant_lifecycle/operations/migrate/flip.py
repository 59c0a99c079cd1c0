"""One attempt to make the other side the writer: the only code that ends one writer and begins another.

Order, and what each step protects:

1. The proof is complete and small, both feeds run, nothing blocks: else there is no attempt (I5, I7).
2. Fence the source: writers in flight are drained, new ones wait, for at most the fence's time to live (I6).
3. A marker in every store's stream, acknowledged by its applier: the target has every acknowledged write (I2).
   Of a store that is followed by the journal of touched keys, every key in the journal is compared instead, and
   carried over if it differs.
4. Compare what was touched since it was last compared: nothing differs (I5). Raise sequences.
5. Commit point: source FENCED -> MOVED while the deadline holds (I1). Before it, recovery releases; after it,
   recovery goes forward.
6. Activate the target. Waiting writers are told TL001 and go there.

The pause is what lies between 2 and 6, and `FlipBudget.pause_s` bounds it up to the commit point: an attempt that
takes longer is given up. So everything that can be done before 2 is: most of all, waiting for a moment in which
nothing is being written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tenant_lifecycle.errors import FlipAbandoned, PreconditionRefused, StoreError, VerificationFailed
from tenant_lifecycle.model.flip import FlipBudget, FlipTiming
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.pairs import Pair
from tenant_lifecycle.operations.proof import Proof, Settled
from tenant_lifecycle.stores.base import Fences, Follower, Schemas

T = TypeVar("T")
#: So few rows are compared under the fence in a few milliseconds; more are worth another look before it.
FEW_ITEMS, SHRINKING_LOOKS = 40, 3
#: How long a moment is waited for in which nothing is being written, and between two looks for it, seconds.
QUIET_S, LOOK_S = 0.15, 0.002


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
    proofs = list(direction.proofs.values())
    with ThreadPoolExecutor(len(proofs), thread_name_prefix="ready") as beside:
        _all(beside.submit(_make_store_ready, direction, proof, budget) for proof in proofs)
        _await_quiet(proofs, beside)


def _make_store_ready(direction: Direction, proof: Proof, budget: FlipBudget) -> None:
    if proof.outdated():
        raise FlipAbandoned(f"{proof.pair.source.name} is not verified against {proof.pair.target.name} yet")
    _refuse_long_survey(direction, proof, budget)
    if _surveyed(direction, proof, budget):
        _survey_in_window(proof)
    left = _shrink(proof)
    lag = proof.follower.lag()
    if left > budget.dirty_items:
        raise FlipAbandoned(f"{left} items changed within the last moment, more than {budget.dirty_items}")
    if lag.seconds > budget.lag_s:
        raise FlipAbandoned(
            f"{proof.pair.target.name} is {lag.seconds:.2f} s behind, more than {budget.lag_s} s"
        )


def _refuse_long_survey(direction: Direction, proof: Proof, budget: FlipBudget) -> None:
    """A store that has to be compared in full must be so within the pause; in a window it is before.

    Raises:
        FlipAbandoned: a later attempt may take so long.
        PreconditionRefused: none may.
    """
    name, settles_s = proof.pair.source.name, proof.follower.settles_in_s()
    if direction.fencing is not None or settles_s <= min(budget.pause_s, budget.marker_s):
        return
    if settles_s <= budget.marker_s:
        raise FlipAbandoned(
            f"comparing all of {name} takes {settles_s:.2f} s, more than this attempt may take"
        )
    raise PreconditionRefused(
        f"comparing all of {name} takes {settles_s:.2f} s, and a flip has {budget.marker_s:g} s: without the client or "
        "hints its last changes cannot be carried over under the fence",
        next_step="abort, and start again with --strategy maintenance_window; or use the client or hints for it",
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


def _await_quiet(proofs: Sequence[Proof], beside: ThreadPoolExecutor) -> None:
    """Wait until nothing is left that is dear to compare under the fence, for a moment at most.

    A key costs round trips there, a row next to nothing. A tenant that never pauses is flipped all the same.
    """
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        noisy = [proof for proof in proofs if proof.left() > (0 if proof.dear else FEW_ITEMS)]
        if not noisy:
            return
        _all(beside.submit(proof.shrink) for proof in noisy)
        time.sleep(LOOK_S)


def _all(begun: Iterable[Future[T]]) -> None:
    """Wait for everything; the first error, if there was one, when all have ended."""
    futures = list(begun)
    wait(futures)
    for future in futures:
        future.result()


@dataclass(frozen=True)
class _Moments:
    """What settling under the fence took; moments of `time.perf_counter`."""

    marked: float
    compared: float
    done: float
    dirty_items: int


def attempt(direction: Direction, epoch: int, budget: FlipBudget) -> FlipTiming:
    """Flip once; on return the target is the writer at ``epoch + 1``.

    Every proof was complete and not outdated a moment ago; whether that still holds is asked under the fence.

    Raises:
        FlipAbandoned: a budget ran out before the commit point; the source goes on as writer.
        VerificationFailed: the dirty items differ; the source goes on as writer.
        StoreBusy: somebody holds the tenant's lock; the source goes on as writer.
    """
    # Left in this order: what was begun under the fence is waited for after the fence is gone.
    with _standing_by(direction, budget), _threads(2 * len(direction.proofs) + 1) as beside:
        began = time.perf_counter()
        give_up = time.monotonic() + budget.pause_s
        ticket = direction.close(epoch, budget)
        drained = time.perf_counter()
        try:
            settled = _settle_under_fence(direction, budget, give_up, beside)
            committed = direction.source.commit_move(direction.tenant, ticket, direction.pair.target)
        except Exception:
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
        marker_ms=(settled.marked - drained) * 1e3,
        compare_ms=(settled.compared - settled.marked) * 1e3,
        counters_ms=(settled.done - settled.compared) * 1e3,
        commit_ms=(moved - settled.done) * 1e3,
        activate_ms=(done - moved) * 1e3,
        dirty_items=settled.dirty_items,
    )


def _surveyed(direction: Direction, proof: Proof, budget: FlipBudget) -> bool:
    """Whether all of the store was compared under the window's fence already, because a flip has no time for it."""
    return direction.fencing is not None and proof.follower.settles_in_s() > min(
        budget.marker_s, budget.pause_s
    )


@contextmanager
def _standing_by(direction: Direction, budget: FlipBudget) -> Iterator[None]:
    """Nothing is carried over by itself while the block runs: a pass that began before the fence would be waited
    for under it."""
    with ExitStack() as stack:
        for proof in direction.proofs.values():
            stack.enter_context(proof.standing_by(budget.marker_s))
        yield


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that run already: starting them is nothing to be done under a fence."""
    with ThreadPoolExecutor(number, thread_name_prefix="fenced") as beside:
        running = threading.Barrier(number + 1)
        for _ in range(number):
            beside.submit(running.wait)
        running.wait()
        yield beside


def _settle_under_fence(
    direction: Direction, budget: FlipBudget, give_up: float, beside: ThreadPoolExecutor
) -> _Moments:
    """Steps 3 and 4, in every store at once."""
    until = min(give_up, time.monotonic() + budget.marker_s)
    proofs = direction.proofs
    # Nobody draws numbers under the fence, so this need not wait for the appliers.
    raising = beside.submit(_raise_counters, direction, budget)
    outdated = {name: beside.submit(proof.outdated) for name, proof in proofs.items()}
    settling = {
        name: beside.submit(proof.settle, until, _surveyed(direction, proof, budget))
        for name, proof in proofs.items()
    }
    settled = {name: _in_time(future, until, name) for name, future in settling.items()}
    for name, answer in outdated.items():
        if _in_time(answer, until, name):
            raise FlipAbandoned(f"changes of {name} may have been missed; it is verified again first")
    _refuse_differences(proofs, settled)
    compared = time.perf_counter()
    _in_time(raising, until, "sequences")
    return _Moments(
        marked=max(one.arrived for one in settled.values()),
        compared=compared,
        done=time.perf_counter(),
        dirty_items=sum(one.items for one in settled.values()),
    )


def _in_time(future: Future[T], until: float, name: str) -> T:
    """The result, if it is there in time.

    Raises:
        FlipAbandoned: it is not. What was begun goes on, and nobody believes it any more.
    """
    if not wait([future], max(0.0, until - time.monotonic())).done:
        raise FlipAbandoned(f"{name} did not settle in time; writes went on at the source")
    return future.result()


def _refuse_differences(proofs: Mapping[str, Proof], settled: Mapping[str, Settled]) -> None:
    """The fence held until now, so nothing was in flight: what differs, differs."""
    for name, one in settled.items():
        if one.differences:
            proofs[name].complete = False
            first = one.differences[0]
            raise VerificationFailed(
                f"{len(one.differences)} item(s) differ under the fence; first: {first.set}: {first.kind.value}"
            )


def _raise_counters(direction: Direction, budget: FlipBudget) -> None:
    """Sequences of the target above the source's, so that the new writer hands out no number twice."""
    for pair in direction.pair.stores:
        if isinstance(pair.source, Schemas):
            pair.source.carry_counters(pair.target, direction.tenant, budget.counter_margin)
