"""Keys of a store without a change log under the fence: compared first, carried over only if they differ."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tenant_lifecycle.errors import FlipAbandoned, StoreBusy
from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.operations.journal_follower import JournalFollower
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.operations.proof import Proof, Settled
from tenant_lifecycle.stores.base import Difference, Feed, Keys, Store, Touch
from tenant_lifecycle.testing.memory import MemoryServer, MemoryStore

TENANT = TenantId("x'; DROP *?[{")
FEED = Feed("tl_test_fwd", TENANT, 1)
KEYS = KeyMap(
    {
        "docs": Family(Template.parse("docs/{tenant}/*")),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    }
)


def key(name: str, family: str = "docs") -> str:
    return f"{family}/{TENANT}/{name}"


@dataclass
class MemoryJournal:
    """The journal of touched keys, kept in this process."""

    entries: list[Touch] = field(default_factory=list)

    def enter(self, name: str, *, still_writing: bool = False) -> None:
        self.entries.append(Touch(len(self.entries) + 1, name.encode(), still_writing, 0.0))

    def touched(self, feed: Feed, store: str, limit: int) -> list[Touch]:
        return self.entries[:limit]

    def drop_touched(self, feed: Feed, seqs: list[int]) -> None:
        self.entries = [entry for entry in self.entries if entry.seq not in seqs]

    def journal_epoch(self) -> str:
        return "1"

    def journal_open(self, feed: Feed) -> bool:
        return True

    def await_touched(self, timeout_s: float) -> None:
        threading.Event().wait(min(timeout_s, 0.01))

    def open_journal(self, feed: Feed) -> None: ...
    def close_journal(self, feed: Feed) -> None: ...
    def touch(self, feed: Feed, store: str, keys: list[bytes]) -> None: ...


class Watched(MemoryStore):
    """Remembers what it was asked for."""

    asked: list[str]

    def compare_keys(self, target: Store, tenant: TenantId, keys: Keys) -> list[Difference]:
        self.asked.append("compare")
        return super().compare_keys(target, tenant, keys)

    def repair(self, target: Store, feed: Feed, keys: Keys) -> int:
        self.asked.append("carry " + " ".join(sorted(name for name, some in keys.items() if some)))
        return super().repair(target, feed, keys)


@dataclass
class Rig:
    blue: MemoryServer
    green: MemoryServer
    journal: MemoryJournal
    source: Watched
    follower: JournalFollower
    proof: Proof

    def settle(self, timeout_s: float = 0.2) -> Settled:
        with self.proof.standing_by(1.0):
            return self.proof.settle(time.monotonic() + timeout_s)


@pytest.fixture
def rig() -> Rig:
    blue, green, journal = MemoryServer(), MemoryServer(), MemoryJournal()
    source = Watched(blue, "blue", "memory", KEYS)
    source.asked = []
    pair = StorePair("memory", source, MemoryStore(green, "green", "memory", KEYS))
    follower = JournalFollower(pair, journal, FEED)
    return Rig(blue, green, journal, source, follower, Proof(pair, FEED, follower, lambda: None))


def differing(settled: Settled) -> Sequence[tuple[str, str]]:
    return [(one.set, one.kind.value) for one in settled.differences]


def test_what_the_application_mirrored_is_compared_and_not_carried(rig: Rig) -> None:
    rig.blue.items[key("1")] = rig.green.items[key("1")] = b"new"
    rig.journal.enter(key("1"))
    settled = rig.settle()
    assert rig.source.asked == ["compare"]
    assert differing(settled) == [] and settled.items == 1 and settled.arrived > 0
    assert rig.journal.entries == [], "after the flip nothing of it may be carried over any more"


def test_what_nobody_mirrored_is_carried_and_compared_again(rig: Rig) -> None:
    rig.blue.items[key("1")] = b"new"
    rig.green.items[key("1")], rig.green.items[key("2")] = b"old", b"deleted at the source"
    rig.journal.enter(key("1"))
    rig.journal.enter(key("2"))
    settled = rig.settle()
    assert rig.source.asked == ["compare", "carry docs", "compare"]
    assert differing(settled) == [] and rig.green.items == {key("1"): b"new"}
    assert rig.journal.entries == []


def test_a_difference_that_no_writer_made_is_told_and_not_mended(rig: Rig) -> None:
    rig.blue.items[key("1")] = b"theirs"
    rig.green.items[key("1")] = b"foreign"
    rig.proof.dirty = {"docs": frozenset({key("1").encode()})}
    rig.journal.enter(key("2"))
    settled = rig.settle()
    assert differing(settled) == [("docs", "different")]
    assert rig.green.items[key("1")] == b"foreign"
    assert [entry.key for entry in rig.journal.entries] == [key("2").encode()]


def test_what_is_not_compared_is_carried_all_the_same(rig: Rig) -> None:
    rig.green.items[key("1", "cache")] = b"stale"
    rig.journal.enter(key("1", "cache"))
    assert differing(rig.settle()) == []
    assert rig.green.items == {} and rig.journal.entries == []


def test_a_request_that_may_be_under_way_is_waited_for_and_then_the_attempt_is_given_up(rig: Rig) -> None:
    rig.blue.items[key("1")] = rig.green.items[key("1")] = b"new"
    rig.journal.enter(key("1"), still_writing=True)
    with pytest.raises(FlipAbandoned):
        rig.settle(0.05)
    assert len(rig.journal.entries) == 1 and rig.source.asked == []


def test_more_keys_than_are_read_at_once_all_arrive(rig: Rig) -> None:
    for n in range(2500):
        rig.blue.items[key(str(n))] = b"new"
        rig.journal.enter(key(str(n)))
    settled = rig.settle(20.0)
    assert differing(settled) == [] and settled.items == 2500
    assert rig.green.items == rig.blue.items and rig.journal.entries == []


def test_nothing_is_carried_by_itself_while_a_flip_stands_by(rig: Rig) -> None:
    rig.follower.apply()
    try:
        with rig.proof.standing_by(5.0):
            rig.blue.items[key("1")] = b"new"
            rig.journal.enter(key("1"))
            threading.Event().wait(0.2)
            assert rig.green.items == {}
        marker = rig.follower.mark()
        assert rig.follower.await_marker(marker, 5.0)
        assert rig.green.items == rig.blue.items
    finally:
        rig.follower.stop()


def test_a_pass_that_does_not_end_puts_the_flip_off(rig: Rig) -> None:
    with (
        rig.proof.standing_by(1.0),
        pytest.raises(StoreBusy, match="carried over"),
        rig.proof.standing_by(0.01),
    ):
        raise AssertionError("two at once")
