"""The feeds of a migration, whatever a store has: a change log of its own, or the journal of touched keys.

The journal is kept by the environment's judge, the store that fences: an application enters a key there under
the same lock that the fence drains.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.operations.journal_follower import JournalFollower
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.operations.survey_follower import SurveyFollower
from tenant_lifecycle.stores.base import Feed, Fences, Follower, Follows, Journals, Keyed


def journal_of(pair: Pair) -> Journals:
    """The journal of the pair's source environment.

    Raises:
        UnsupportedByStore: its judge keeps none.
    """
    judge = pair.judge.source
    if not isinstance(judge, Journals):
        raise UnsupportedByStore(f"{judge.name} keeps no journal of touched keys")
    return judge


def keyed_stores(pair: Pair) -> list[StorePair]:
    """The stores without a change log of their own."""
    return [
        one for one in pair.stores if not isinstance(one.source, Follows) and isinstance(one.source, Keyed)
    ]


def journaled(pair: Pair) -> bool:
    """Whether a store is followed by the journal."""
    return any(one.changes is Changes.CLIENT for one in keyed_stores(pair))


def create(pair: Pair, feed: Feed) -> None:
    """From here on the source keeps what changes, or enters what is touched. Idempotent."""
    for one in pair.stores:
        if isinstance(one.source, Follows):
            one.source.create_feed(one.target, feed)
    if journaled(pair):
        journal_of(pair).open_journal(feed)


def drop(pair: Pair, feed: Feed) -> None:
    """Remove them; safe to repeat, also when they were never there."""
    for one in pair.stores:
        if isinstance(one.source, Follows):
            one.source.drop_feed(feed)
    if journaled(pair):
        journal_of(pair).close_journal(feed)


def forget(pair: Pair, feed: Feed) -> None:
    """Delete what the target remembers of a feed that was dropped and has nothing more to do; safe to repeat."""
    for one in pair.stores:
        if isinstance(one.target, Follows):
            one.target.forget_feed(feed)


def follower(pair: Pair, one: StorePair, feed: Feed, spool: Path) -> Follower:
    """A follower of one store, not yet started.

    Raises:
        UnsupportedByStore: nothing tells what changes in it.
    """
    if isinstance(one.source, Follows):
        return one.source.follow(one.target, feed, spool)
    if isinstance(one.source, Keyed) and one.changes is not Changes.CLIENT:
        judge = pair.judge.source
        assert isinstance(judge, Fences)
        return SurveyFollower(one, judge, feed, hints=one.changes is Changes.HINTS)
    if isinstance(one.source, Keyed):
        return JournalFollower(one, journal_of(pair), feed)
    raise UnsupportedByStore(f"{one.source.name} ({one.source.kind}) has no stream of changes")


def prove(pair: Pair, one: StorePair, feed: Feed, running: Follower, timeout_s: float) -> bool:
    """Put a canary in at the source, not as ours, and see it come out at the target."""
    if isinstance(one.source, Follows):
        return one.source.prove_feed(feed, running, timeout_s)
    if one.changes is not Changes.CLIENT:
        # Nobody writes at this source yet, so nothing can come out: it answers, and with hints it is heard.
        return running.await_marker(running.mark(), timeout_s)
    # A key that is nobody's: it goes the whole way through the journal, and is there to be dropped.
    journal_of(pair).touch(feed, one.name, [f"tenant_lifecycle.canary.{uuid.uuid4().hex}".encode()])
    return running.await_marker(running.mark(), timeout_s)
