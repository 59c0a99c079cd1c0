"""Filling the target: hold back changes, copy what is there, apply what changed, prepare the way back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenant_lifecycle.engine.items import WorkItem
from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.operation import Json
from tenant_lifecycle.operations.migrate import feeds
from tenant_lifecycle.operations.migrate.provision import keep_counters_ahead
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.base import Copies, Part

#: Caught up means: the oldest change that waits is younger than this, twice in a row.
CAUGHT_UP_S = 0.5
CANARY_TIMEOUT_S = 30.0
#: How often it is looked whether the changes that wait become more.
TREND_S = 5.0


def create_feed(ctx: StepContext) -> Outcome:
    """Step: create the feeds source -> target; from here on the source keeps what changes."""
    session: Session = ctx.session
    feeds.create(session.pair, session.feed(FORWARD))
    return Done()


def copy(ctx: StepContext) -> Outcome:
    """Step: copy every part of every store; parts are work items, the feed spools meanwhile."""
    session: Session = ctx.session
    if session.window is None:
        # In a window nothing changes; the source keeps what does if the fence is lost, until somebody follows.
        session.followers(FORWARD, applying=False)
    parts: dict[str, tuple[StorePair, Part]] = {}
    for pair in session.pair.stores:
        if isinstance(pair.source, Copies):
            for part in pair.source.split(pair.target, session.feed(FORWARD)):
                parts[f"{pair.name}/{part.name}"] = (pair, part)
    tally = _Tally(
        {key: part.items for key, (_, part) in parts.items()}, {k: p.set for k, (_, p) in parts.items()}
    )

    def work(item: WorkItem) -> Json:
        pair, part = parts[item.key]
        assert isinstance(pair.source, Copies)
        _check(ctx, session)
        copied = pair.source.copy_part(pair.target, session.feed(FORWARD), part, ctx.check)
        tally.add(item.key, copied.items, copied.bytes)
        ctx.progress(tally.items, tally.expected, detail=tally.detail())
        return {"items": copied.items, "bytes": copied.bytes}

    # Level by level: a child must not arrive before its parent (see `Part.level`).
    for level in sorted({part.level for _, part in parts.values()}):
        ctx.items.seed(WorkItem(key) for key, (_, part) in parts.items() if part.level == level)
        ctx.items.run(work, workers=session.policy.workers)
    outputs = ctx.items.outputs()
    stores: dict[str, int] = dict.fromkeys((pair.name for pair in session.pair.stores), 0)
    for key, output in outputs.items():
        stores[parts[key][0].name] += output["items"]
    return Done(
        {
            "items": sum(output["items"] for output in outputs.values()),
            "bytes": sum(output["bytes"] for output in outputs.values()),
            "stores": stores,
            "parts": len(parts),
            "seconds": round(tally.seconds, 3),
        }
    )


class _Tally:
    """Items and bytes copied so far, set by set, with the rate; called by several threads.

    Losing one of two simultaneous additions only makes a number on a screen late: the result is counted
    from the items' outputs.
    """

    def __init__(self, expected: dict[str, int], sets: dict[str, str]) -> None:
        self.expected = sum(expected.values())
        self.items = 0
        self.bytes = 0
        self._sets = sets
        self._done: dict[str, int] = dict.fromkeys(sets.values(), 0)
        self._total: dict[str, int] = dict.fromkeys(sets.values(), 0)
        for key, name in sets.items():
            self._total[name] += expected[key]
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, key: str, items: int, size: int) -> None:
        self.items += items
        self.bytes += size
        self._done[self._sets[key]] += items

    def detail(self) -> Json:
        """For watchers: per set done and total, rates, and the seconds that are left at this rate."""
        seconds = max(self.seconds, 1e-6)
        rate = self.items / seconds
        return {
            "sets": {name: [self._done[name], total] for name, total in self._total.items()},
            "items_per_s": round(rate),
            "bytes_per_s": round(self.bytes / seconds),
            "eta_s": round(max(0, self.expected - self.items) / rate, 1) if rate else None,
        }


def catch_up(ctx: StepContext) -> Outcome:
    """Step: apply what was spooled during the copy until only moments are left."""
    session: Session = ctx.session
    followers = session.followers(FORWARD)
    began = time.monotonic()
    trend = _Trend(began)
    calm = 0
    while calm < 2:
        _check(ctx, session)
        keep_counters_ahead(session, FORWARD)
        lags = {name: follower.lag() for name, follower in followers.items()}
        worst = max(lag.seconds for lag in lags.values())
        waiting = sum(lag.waiting for lag in lags.values())
        applied = sum(lag.applied for lag in lags.values())
        ctx.progress(
            applied, applied + waiting, exact=False, detail=_lag_detail(worst, waiting, applied, began)
        )
        if worst > CAUGHT_UP_S or waiting > 1000:
            calm = 0
            why = trend.falling_behind(waiting, applied)
            if why:
                ctx.event("falling-behind", why=why)
                ctx.publish({"why": why})
            time.sleep(0.1)
            continue
        marks = {name: follower.mark() for name, follower in followers.items()}
        waits = {name: followers[name].patience_s() / 12 for name in marks}
        calm = calm + 1 if all(followers[n].await_marker(mark, waits[n]) for n, mark in marks.items()) else 0
    seconds = time.monotonic() - began
    return Done({"applied": sum(f.lag().applied for f in followers.values()), "seconds": round(seconds, 3)})


@dataclass
class _Trend:
    """Whether what waits grows: looked at every `TREND_S` seconds."""

    at: float
    waiting: int = 0
    applied: int = 0

    def falling_behind(self, waiting: int, applied: int) -> str:
        """A sentence with both rates if more arrived than was applied since the last look; else nothing."""
        now = time.monotonic()
        seconds = now - self.at
        if seconds < TREND_S:
            return ""
        arrived = (waiting - self.waiting + applied - self.applied) / seconds
        done = (applied - self.applied) / seconds
        grew = waiting > self.waiting and self.applied > 0
        self.at, self.waiting, self.applied = now, waiting, applied
        if not grew:
            return ""
        return (
            f"changes arrive faster ({arrived:,.0f}/s) than they are applied ({done:,.0f}/s), {waiting:,} wait; "
            "ease bulk writers off, or move in a window in which they rest"
        )


def _lag_detail(worst_s: float, waiting: int, applied: int, began: float) -> Json:
    rate = applied / max(time.monotonic() - began, 1e-6)
    return {
        "lag_s": round(worst_s, 3),
        "waiting": waiting,
        "items_per_s": round(rate),
        "eta_s": round(waiting / rate, 1) if rate else None,
    }


def prepare_way_back(ctx: StepContext) -> Outcome:
    """Step: create the feeds target -> source, start them, and prove with a canary that they deliver.

    They run from here to the end, so that a rollback needs nothing that is not known to work.
    """
    session: Session = ctx.session
    back = session.way(BACK)
    session.followers(FORWARD)
    feeds.create(back, session.feed(BACK))
    followers = session.followers(BACK)
    for pair in back.stores:
        _check(ctx, session)
        running = followers[pair.name]
        if not feeds.prove(back, pair, session.feed(BACK), running, CANARY_TIMEOUT_S):
            raise StoreBusy(
                f"the way back from {pair.source.name} did not deliver its canary within {CANARY_TIMEOUT_S:.0f} s",
                store=pair.source.name,
                next_step="it is tried again; without a proven way back there is no flip",
            )
    return Done()


def _check(ctx: StepContext, session: Session) -> None:
    """A safe point of the driver that is also one of the feeds: a dead feed ends the step."""
    ctx.check()
    session.check_window()
    session.check_followers()
