"""Proof that two sides are equal while writes go on, kept up to date until the moment of a flip.

A full comparison names *suspects*: items whose digests differed, most of them in flight. An item is really
different only if it still differs in a round in which it was not touched: before the round a marker went
through (so the target had everything committed earlier), the item is read on both sides, a second marker
goes through, and the stream shows no change to the item in between. Everything touched since the
comparison began is *dirty* and is looked at again, at the latest under the fence, where nothing is in
flight any more. Source of the idea: Ghostferry's re-verify queue and pgEdge ACE's dirty blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tenant_lifecycle.errors import FlipAbandoned, StoreBusy, VerificationFailed
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import Difference, SetVerdict, VerificationReport
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.base import Check, Digests, Feed, Follower, Glances, Keys

#: Above this many dirty items a look at each costs more than a new comparison.
DIRTY_LIMIT = 200_000
#: Items that are filled in again at once after a store lost them.
REFILL_AT_ONCE = 1000


def count(keys: Keys) -> int:
    """How many items the keys name."""
    return sum(len(some) for some in keys.values())


def union(first: Keys, second: Keys) -> dict[str, frozenset[bytes]]:
    """Keys that are in either."""
    names = first.keys() | second.keys()
    return {name: first.get(name, frozenset()) | second.get(name, frozenset()) for name in names}


def by_set(differences: Iterable[Difference]) -> dict[str, frozenset[bytes]]:
    """The keys of differences."""
    found: dict[str, set[bytes]] = {}
    for difference in differences:
        found.setdefault(difference.set, set()).add(difference.key)
    return {name: frozenset(keys) for name, keys in found.items()}


#: Compares what is dirty; True: once, and at once, so that something may be named that is equal.
Compare = Callable[[bool], Sequence[Difference]]


@runtime_checkable
class Settles(Protocol):
    """A follower whose stream says *which* items were touched, and not how.

    Under a fence there is then no need to carry over first and to compare afterwards: most of what was touched
    is equal already, because the application mirrored it. What is compared and equal has been carried over.
    """

    def standing_by(self, timeout_s: float) -> AbstractContextManager[None]:
        """Carry over nothing by itself while the block runs.

        Raises:
            StoreBusy: what is under way does not end within the time.
        """

    def settle(self, compare: Compare, timeout_s: float) -> Sequence[Difference] | None:
        """Under a fence, standing by: let ``compare`` look at everything touched, which is dirty then; carry over
        what differs, and let it look again. What differs still; None: writers were at it all the time."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What one store pair looked like under the fence."""

    #: When everything had arrived, `time.perf_counter`.
    arrived: float
    differences: Sequence[Difference]
    #: Compared.
    items: int


@dataclass
class Proof:
    """What is known about one store pair in one direction. Used by one thread at a time."""

    pair: StorePair
    feed: Feed
    follower: Follower
    check: Check
    #: Keys that somebody wrote on the target past the fence, told by the other direction's feed, since the last call.
    take_foreign: Callable[[], Keys] = dict
    #: Called with the number of such keys.
    on_foreign: Callable[[int], None] = lambda _: None
    #: Differences may be repaired up to this many items; beyond it a person must look.
    max_repairs: int = 100
    #: True after a full comparison whose suspects were all explained, until something breaks it.
    complete: bool = False
    verified_at: float = 0.0
    #: The feed's epoch at the beginning of that comparison; under another one it proves nothing.
    epoch: str | None = None
    dirty: dict[str, frozenset[bytes]] = field(default_factory=dict)
    repaired: set[tuple[str, bytes]] = field(default_factory=set)
    _refilling: bool = False

    @property
    def tenant(self) -> TenantId:
        return self.feed.tenant

    @property
    def source(self) -> Digests:
        assert isinstance(self.pair.source, Digests)
        return self.pair.source

    def verify(self, progress: Callable[[str, int], None] | None = None) -> VerificationReport:
        """Compare everything while writes go on, explain every suspect, repair what really differs.

        ``progress`` is called with the set's name and its items as each set is done.

        Raises:
            VerificationFailed: more differences than may be repaired, or one that came back after repair.
        """
        began = time.monotonic()
        epoch = self.follower.epoch()
        # A store that lost what it had is filled again; that is no foreign writer, and no number of repairs.
        self._refilling = self.epoch is not None and epoch != self.epoch
        self.complete = False
        self.epoch = epoch
        self.follower.check()
        self.follower.take_touched()
        self.dirty = {}
        self._pass_marker()
        verdicts: list[SetVerdict] = []
        for name in self.source.sets(self.tenant):
            self.check()
            verdicts.append(self._verify_set(name))
            if progress is not None:
                progress(name, verdicts[-1].items)
        self.absorb()
        self._refilling = False
        self.complete = True
        self.verified_at = time.time()
        return VerificationReport(
            source=self.pair.source.environment,
            target=self.pair.target.environment,
            sets=tuple(verdicts),
            repaired=len(self.repaired),
            seconds=time.monotonic() - began,
        )

    def outdated(self) -> bool:
        """Whether the feed may have missed something since the comparison; then the proof is no longer complete."""
        if self.follower.epoch() != self.epoch:
            self.complete = False
        return not self.complete

    def take_over(self, other: Proof, epoch: str) -> None:
        """Both directions were equal at the moment of a flip: what ``other`` proved holds here, and no longer there."""
        self.complete, self.verified_at, self.epoch = other.complete, other.verified_at, epoch
        other.complete = False

    def _verify_set(self, name: str) -> SetVerdict:
        compared = self.source.compare(self.pair.target, self.tenant, name, self.check)
        left = self._explain(compared.suspects)
        if left:
            self._repair(left)
            left = self._explain(by_set(left))
        return SetVerdict(
            self.pair.name, name, compared.items, compared.leaves, count(compared.suspects), tuple(left)
        )

    def absorb(self) -> Keys:
        """Take over what the follower applied since the last look; it is dirty until it is compared."""
        touched = self.follower.take_touched()
        foreign = self.take_foreign()
        if count(foreign):
            self.on_foreign(count(foreign))
        self.dirty = union(union(self.dirty, touched), foreign)
        if count(self.dirty) > DIRTY_LIMIT:
            self.complete = False
            self.dirty = {}
        return touched

    def shrink(self) -> int:
        """Compare what is dirty while writes go on; return how many items are dirty afterwards.

        Raises:
            VerificationFailed: as `verify`.
        """
        self.absorb()
        looked_at, self.dirty = self.dirty, {}
        try:
            left = self._explain(looked_at)
            if left:
                self._repair(left)
        except StoreBusy:
            self.dirty = union(self.dirty, looked_at)
            raise
        return count(self.dirty)

    @property
    def dear(self) -> bool:
        """Whether comparing one item costs round trips of its own."""
        return isinstance(self.follower, Settles)

    def left(self) -> int:
        """How many items are dirty now."""
        self.absorb()
        return count(self.dirty)

    def standing_by(self, timeout_s: float) -> AbstractContextManager[None]:
        """Nothing is carried over by itself while the block runs, if the follower can do without; see `Settles`."""
        if isinstance(self.follower, Settles):
            return self.follower.standing_by(timeout_s)
        return nullcontext()

    def settle(self, until: float, surveyed: bool = False) -> Settled:
        """Under the fence, standing by: let the last changes arrive, and compare exactly what is dirty.

        ``until`` is a moment of `time.monotonic`. ``surveyed``: everything was compared under this fence already.

        Raises:
            FlipAbandoned: they did not arrive until then.
        """
        arrived = 0.0

        def compare(once: bool) -> Sequence[Difference]:
            nonlocal arrived
            arrived = arrived or time.perf_counter()
            return self._final_differences(once)

        differences: Sequence[Difference] | None = None
        left_s = max(0.0, until - time.monotonic())
        if isinstance(self.follower, Settles):
            differences = self.follower.settle(compare, left_s)
        elif surveyed or self.follower.await_marker(self.follower.mark(), left_s):
            differences = compare(False)
        if differences is None:
            raise FlipAbandoned(f"the last changes did not reach {self.pair.target.name} in time")
        return Settled(arrived, differences, count(self.dirty))

    def _final_differences(self, once: bool) -> Sequence[Difference]:
        """Compare exactly what is dirty. Nothing is in flight."""
        self.absorb()
        if not count(self.dirty):
            return ()
        if once and isinstance(self.source, Glances):
            return self.source.glance_at_keys(self.pair.target, self.tenant, self.dirty)
        return self.source.compare_keys(self.pair.target, self.tenant, self.dirty)

    def _explain(self, suspects: Keys) -> list[Difference]:
        """Of the suspects, those that differ although nothing touched them; the touched ones become dirty.

        Looked at twice: a change may come out of the stream a moment before its source shows it (a backend that
        has written its commit and was put off the processor). Such a difference is none at the second look.
        """
        found = self._differing(suspects)
        return self._differing(by_set(found)) if found else []

    def _differing(self, suspects: Keys) -> list[Difference]:
        if not count(suspects):
            return []
        self.check()
        self._pass_marker()
        self.absorb()
        found = self.source.compare_keys(self.pair.target, self.tenant, suspects)
        if not found:
            return []
        self._pass_marker()
        touched = self.absorb()
        return [d for d in found if d.key not in touched.get(d.set, frozenset())]

    def _repair(self, differences: list[Difference]) -> None:
        """Make the target's items equal to the source's; each at most once, and not too many."""
        items = {(difference.set, difference.key) for difference in differences}
        again = items & self.repaired
        if self._refilling:
            self._refill(differences)
            return
        if again or len(items) + len(self.repaired) > self.max_repairs:
            raise VerificationFailed(
                f"{len(items)} item(s) differ between {self.pair.source.name} and {self.pair.target.name}"
                + (f", {len(again)} of them again after a repair" if again else "")
                + f"; first: {self._first(differences)}",
                next_step="tenantctl migrate verify lists every differing key; find the foreign writer first",
            )
        keys = by_set(differences)
        self.source.repair(self.pair.target, self.feed, keys)
        self.repaired |= items
        self.dirty = union(self.dirty, keys)

    def _refill(self, differences: list[Difference]) -> None:
        for start in range(0, len(differences), REFILL_AT_ONCE):
            self.check()
            keys = by_set(differences[start : start + REFILL_AT_ONCE])
            self.source.repair(self.pair.target, self.feed, keys)
            self.dirty = union(self.dirty, keys)

    @staticmethod
    def _first(differences: list[Difference]) -> str:
        first = differences[0]
        fields = f" in {', '.join(first.fields)}" if first.fields else ""
        return f"{first.set}: {first.kind.value}{fields}"

    def _pass_marker(self) -> None:
        marker = self.follower.mark()
        patience_s = self.follower.patience_s()
        # In short waits: a follower that cannot reach its target says so at the end of each.
        if not any(self.follower.await_marker(marker, patience_s / 12) for _ in range(12)):
            raise StoreBusy(
                f"{self.pair.target.name}: changes of the last {patience_s:.0f} s are not applied yet",
                store=self.pair.target.name,
                next_step="the target is too slow or the source writes too fast; see tenantctl op why",
            )
