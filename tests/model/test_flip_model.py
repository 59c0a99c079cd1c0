"""The flip protocol, model-checked: every interleaving of a writer, the applier, the clock and two drivers.

Two drivers, because a stopped one may wake up at any moment and go on where it was (a zombie). Both use the
product's own `decide`. Breadth-first over all reachable states; each of the broken variants below must be
caught, or the model would prove nothing.

Checked in every state: I1 (never two sides that accept writes), I2 (no side becomes the writer while it lacks
an acknowledged write), I4 (epochs only grow). Bounded: one writer transaction at a time, three epochs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tenant_lifecycle.model.cutover import Action, Fence, Seen, decide

MAX_EPOCH = 3


@dataclass(frozen=True)
class Row:
    state: Fence
    epoch: int
    #: Identity of the fencing, given to the driver that fenced; 0 unless FENCED.
    ticket: int = 0
    expired: bool = False


@dataclass(frozen=True)
class Driver:
    at: str = "look"
    #: Side it flips from, fixed when the attempt begins.
    source: int = 0
    epoch: int = 0
    ticket: int = 0


@dataclass(frozen=True)
class World:
    rows: tuple[Row, Row] = (Row(Fence.ACTIVE, 1), Row(Fence.STANDBY, 0))
    #: Acknowledged writes that the other side has not applied yet, per side they were made on (0 or 1).
    unapplied: tuple[int, int] = (0, 0)
    #: A writer's transaction that passed the guard and did not commit yet: side, or None.
    writing: int | None = None
    #: True: it passed because the deadline was over, so it holds the row FOR SHARE.
    shares_row: bool = False
    drivers: tuple[Driver, Driver] = (Driver(), Driver())
    tickets: int = 0
    #: Side people want as the writer: changes only when reached, so both directions are walked.
    wanted: int = 1
    bad: str = ""


def put(pair: tuple, index: int, value: object) -> tuple:
    return (value, pair[1]) if index == 0 else (pair[0], value)


def accepts(row: Row) -> bool:
    return row.state is Fence.ACTIVE or (row.state is Fence.FENCED and row.expired)


class Model:
    """The protocol as it is meant; each flag switches one rule off."""

    def __init__(self, **broken: bool) -> None:
        self.broken = broken

    def steps(self, w: World) -> Iterator[World]:
        yield from self.writer(w)
        yield from self.applier(w)
        yield from self.clock(w)
        for index in (0, 1):
            yield from self.driver(w, index)

    def writer(self, w: World) -> Iterator[World]:
        if w.writing is None:
            for side in (0, 1):
                late = w.rows[side].state is Fence.FENCED
                # A writer that passes because the deadline is over takes the row FOR SHARE first.
                if accepts(w.rows[side]) and not (late and self.locked(w, side)):
                    yield replace(w, writing=side, shares_row=late)
        else:
            side = w.writing
            lost = w.rows[side].state in (Fence.MOVED, Fence.STANDBY)
            yield replace(
                w,
                writing=None,
                shares_row=False,
                unapplied=put(w.unapplied, side, 1),
                bad="I2: a write was acknowledged on a side that is not the writer" if lost else w.bad,
            )

    def applier(self, w: World) -> Iterator[World]:
        for side in (0, 1):
            if w.unapplied[side]:
                yield replace(w, unapplied=put(w.unapplied, side, 0))

    def clock(self, w: World) -> Iterator[World]:
        for side in (0, 1):
            row = w.rows[side]
            if row.state is Fence.FENCED and not row.expired:
                yield replace(w, rows=put(w.rows, side, replace(row, expired=True)))

    def driver(self, w: World, index: int) -> Iterator[World]:
        d = w.drivers[index]
        move = getattr(self, f"driver_{d.at}")
        for changed, after in move(w, d):
            yield replace(changed, drivers=put(changed.drivers, index, after))
        # A crash or a take-over: forget everything, look again. (Not crashing = the zombie keeps its state.)
        if d.at != "look":
            yield replace(w, drivers=put(w.drivers, index, Driver()))

    def driver_look(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        source = 1 - w.wanted
        here, there = w.rows[source], w.rows[w.wanted]
        action = decide(Seen(here.state, here.epoch), Seen(there.state, there.epoch))
        if action is Action.ATTEMPT and here.epoch < MAX_EPOCH:
            yield w, Driver("fence", source, here.epoch)
        elif action is Action.RELEASE:
            yield w, Driver("release", source, here.epoch, here.ticket)
        elif action is Action.ACTIVATE:
            yield w, Driver("activate", source, here.epoch - 1)
        elif action is Action.FINISHED:
            yield replace(w, wanted=source), Driver()
        elif action is Action.CONTRADICTION:
            yield replace(w, bad="the fences contradict each other"), d

    def driver_fence(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        row = w.rows[d.source]
        drained = w.writing != d.source or self.broken.get("no_drain", False)
        if row.state is Fence.ACTIVE and row.epoch == d.epoch and drained:
            ticket = w.tickets + 1
            if ticket <= 4:
                fenced = Row(Fence.FENCED, row.epoch, ticket)
                yield (
                    replace(w, rows=put(w.rows, d.source, fenced), tickets=ticket),
                    replace(d, at="mark", ticket=ticket),
                )
        elif row.state is not Fence.ACTIVE:
            yield w, Driver()

    def driver_mark(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        if not w.unapplied[d.source] or self.broken.get("no_marker", False):
            yield w, replace(d, at="commit")
        yield w, replace(d, at="release")

    def driver_release(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        row = w.rows[d.source]
        if self.locked(w, d.source):
            return
        if row.state is Fence.FENCED and self.is_mine(row, d):
            yield replace(w, rows=put(w.rows, d.source, Row(Fence.ACTIVE, row.epoch))), Driver()
        else:
            yield w, Driver()

    def driver_commit(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        """SELECT ... FOR UPDATE, then the deadline is read from the clock in a second statement."""
        row = w.rows[d.source]
        if (w.writing == d.source and w.shares_row and self.locks()) or self.locked(w, d.source):
            return
        in_time = not row.expired or self.broken.get("no_deadline", False)
        if row.state is Fence.FENCED and row.epoch == d.epoch and self.is_mine(row, d) and in_time:
            yield w, replace(d, at="write")
        else:
            yield w, Driver()

    def driver_write(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        if w.rows[d.source].state is Fence.FENCED:
            moved = Row(Fence.MOVED, d.epoch + 1)
            yield replace(w, rows=put(w.rows, d.source, moved)), replace(d, at="activate")
        else:
            yield w, Driver()

    def locks(self) -> bool:
        return not self.broken.get("no_row_lock", False)

    def locked(self, w: World, side: int) -> bool:
        """Whether a driver between check and write holds the row of that side."""
        return self.locks() and any(d.at == "write" and d.source == side for d in w.drivers)

    def is_mine(self, row: Row, d: Driver) -> bool:
        return row.ticket == d.ticket or self.broken.get("no_ticket", False)

    def driver_activate(self, w: World, d: Driver) -> Iterator[tuple[World, Driver]]:
        target = 1 - d.source
        row = w.rows[target]
        if row.epoch > d.epoch + 1 and not self.broken.get("no_epoch_guard", False):
            yield w, Driver()
            return
        if (
            row.epoch == d.epoch + 1
            and row.state is not Fence.STANDBY
            and not self.broken.get("no_epoch_guard", False)
        ):
            yield w, Driver()
            return
        bad = "I2: the new writer lacks an acknowledged write" if w.unapplied[d.source] else w.bad
        if d.epoch + 1 < row.epoch:
            bad = "I4: an epoch went back"
        yield replace(w, rows=put(w.rows, target, Row(Fence.ACTIVE, d.epoch + 1)), bad=bad), Driver()


def explore(model: Model, limit: int = 2_000_000) -> tuple[int, str, int]:
    """All reachable states: how many, the first violation ("" if none), the highest epoch reached."""
    start = World()
    seen = {start}
    queue = deque([start])
    highest = 0
    while queue:
        world = queue.popleft()
        highest = max(highest, world.rows[0].epoch, world.rows[1].epoch)
        if world.bad:
            return len(seen), world.bad, highest
        if all(row.state in (Fence.ACTIVE, Fence.FENCED) for row in world.rows):
            return len(seen), "I1: two sides may accept writes", highest
        for after in model.steps(world):
            if after not in seen:
                seen.add(after)
                assert len(seen) < limit
                queue.append(after)
    return len(seen), "", highest


def test_no_interleaving_breaks_the_protocol() -> None:
    states, violation, highest = explore(Model())
    assert violation == ""
    assert highest == MAX_EPOCH, "flips in both directions must have been walked"
    assert states > 5_000


@pytest.mark.parametrize(
    "rule", ["no_marker", "no_deadline", "no_drain", "no_ticket", "no_row_lock", "no_epoch_guard"]
)
def test_leaving_any_rule_out_is_caught(rule: str) -> None:
    _, violation, _ = explore(Model(**{rule: True}))
    assert violation != "", f"the model does not notice {rule}"
