"""A service that throttles, lags, fails and dies: nothing is lost, nothing passes that should not."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest
from pinecone_pair import API_KEY, Pair, key, nothing, vector, wanted

from tenant_lifecycle.errors import Fenced, StoreBusy, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.pinecone import repair as repairing

TENANT = TenantId("1")


def test_throttled_work_converges(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector(f"{n:04}") for n in range(300)], namespace="1")
    pair.faults(throttle=0.3, errors=0.05, retry_after_s=0.01)
    assert pair.copy() == 300
    assert pair.suspects() == {}
    pair.faults(throttle=0, errors=0)
    assert pair.green.describe_namespace(name="1").record_count == 300


def test_throttling_without_end_is_told_as_busy(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.source.incarnation()
    pair.faults(throttle=1, retry_after_s=60)
    with pytest.raises(StoreBusy) as caught:
        pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a"))
    assert caught.value.retryable


def test_the_official_client_repeats_nothing_behind_our_back(pair: Pair) -> None:
    """Its own repetition waits as long as the service says, without our budget and our check."""
    pair.source.incarnation()
    before = sum(pair.servers[0].requests().values())
    pair.faults(errors=1)
    with pytest.raises(StoreUnavailable):
        pair.source.side.client.fetch("1", ["a"], repairing.QUICK.__class__(busy_s=0))
    pair.faults(errors=0)
    assert sum(pair.servers[0].requests().values()) - before == 1


def test_a_stale_read_is_never_taken_for_an_equal_one(pair: Pair) -> None:
    """Both sides still show the old state while the source has accepted a newer one: the trap of traps."""
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.copy()
    pair.faults(stale_ms=300)
    for number in range(2, 5):
        pair.blue.upsert(vectors=[vector("a", number)], namespace="1")
        assert pair.blue.fetch(ids=["a"], namespace="1").vectors["a"].values[0] != number
        found = pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a"))
        assert [one.key for one in found] == [key("1", "a")]
        assert pair.source.repair(pair.target, pair.feed(), wanted("docs", "1", "a")) == 1
        assert pair.green.fetch(ids=["a"], namespace="1").vectors["a"].values[0] == number


def test_a_stale_mirror_is_never_taken_for_the_last_word(pair: Pair) -> None:
    """The target shows what is right, but has accepted something older that becomes visible later."""
    pair.blue.upsert(vectors=[vector("a", 2)], namespace="1")
    pair.copy()
    pair.faults(stale_ms=300)
    pair.green.upsert(vectors=[vector("a", 1)], namespace="1")
    assert pair.source.repair(pair.target, pair.feed(), wanted("docs", "1", "a")) == 1
    time.sleep(0.4)
    assert pair.green.fetch(ids=["a"], namespace="1").vectors["a"].values[0] == 2


def test_a_stale_deletion_and_a_stale_first_vector_are_seen(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a"), vector("b")], namespace="1")
    pair.copy()
    pair.faults(stale_ms=300)
    pair.blue.delete(ids=["a"], namespace="1")
    pair.blue.upsert(vectors=[vector("new")], namespace="1--new")
    keys = {**wanted("docs", "1", "a"), **wanted("parts", "1--new", "new")}
    assert pair.source.repair(pair.target, pair.feed(), keys) == 2
    assert pair.green.fetch(ids=["a"], namespace="1").vectors == {}
    assert pair.green.fetch(ids=["new"], namespace="1--new").vectors != {}


def test_a_copy_sees_what_was_written_just_before(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("old")], namespace="1")
    pair.faults(stale_ms=300)
    pair.blue.upsert(vectors=[vector("a"), vector("b")], namespace="1")
    assert pair.copy() == 3
    assert pair.suspects() == {}


def test_a_quiet_namespace_needs_no_waiting(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.copy()
    pair.faults(stale_ms=60_000)
    assert pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a")) == []


def test_lag_beyond_the_budget_is_busy_and_no_claim(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.copy()
    pair.faults(stale_ms=60_000)
    pair.blue.upsert(vectors=[vector("a", 2)], namespace="1")
    with pytest.raises(StoreBusy):
        pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a"))


def test_an_older_token_is_refused_and_writes_nothing(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.source.repair(pair.target, pair.feed(token=5), wanted("docs", "1", "a"))
    pair.blue.upsert(vectors=[vector("a", 2)], namespace="1")
    with pytest.raises(Fenced):
        pair.source.repair(pair.target, pair.feed(token=4), wanted("docs", "1", "a"))
    with pytest.raises(Fenced):
        pair.copy(token=4)
    with pytest.raises(Fenced):
        pair.target.remove(pair.feed(token=4), nothing)
    assert pair.green.fetch(ids=["a"], namespace="1").vectors["a"].values[0] == 1
    # Tokens are the tenant's: another one begins at its own.
    pair.source.repair(pair.target, pair.feed("12", token=1), wanted("docs", "12", "a"))


def test_a_token_that_is_not_visible_yet_still_counts(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a")], namespace="1")
    pair.source.repair(pair.target, pair.feed(token=4), wanted("docs", "1", "a"))
    pair.faults(stale_ms=300)
    pair.source.repair(pair.target, pair.feed(token=5), wanted("docs", "1", "never"))
    with pytest.raises(Fenced):
        pair.source.repair(pair.target, pair.feed(token=4), wanted("docs", "1", "a"))


def test_a_server_killed_in_the_middle_of_a_copy(new_pair: Callable[..., Pair], tmp_path_factory) -> None:
    file = tmp_path_factory.mktemp("emulator") / "writes"
    with (
        PineconeServer(index=None, api_key=API_KEY) as blue,
        PineconeServer(index=None, api_key=API_KEY, file=file) as green,
    ):
        pair = new_pair(servers=(blue, green))
        for first in range(0, 3000, 1000):
            pair.blue.upsert(vectors=[vector(f"{n:05}") for n in range(first, first + 1000)], namespace="1")
        batches = 0

        def kill_after_two() -> None:
            nonlocal batches
            batches += 1
            if batches == 2:
                green.kill()

        feed = pair.feed()
        (part,) = pair.source.split(pair.target, feed)
        with pytest.raises(StoreUnavailable) as caught:
            pair.source.copy_part(pair.target, feed, part, kill_after_two)
        assert caught.value.retryable
        green.start()
        (part,) = pair.source.split(pair.target, feed)
        assert not part.done
        before = blue.requests()
        assert pair.source.copy_part(pair.target, feed, part, nothing).items == 3000
        fetches = f"GET /index/{pair.name}/vectors/fetch"
        # What was written before the kill is not fetched again.
        assert blue.requests()[fetches] - before[fetches] < 30
        (part,) = pair.source.split(pair.target, feed)
        assert part.done and pair.suspects() == {}


def test_a_standstill_is_told_as_unavailable(pair: Pair) -> None:
    pair.source.incarnation(), pair.target.incarnation()
    pair.servers[1].faults(frozen=True)
    with pytest.raises(StoreUnavailable):
        pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a"))
    pair.servers[1].faults(frozen=False)


def test_memory_does_not_grow_with_the_tenant(pair: Pair) -> None:
    for first in range(0, 3000, 1000):
        pair.blue.upsert(
            vectors=[vector(f"{n:05}", text="x" * 900) for n in range(first, first + 1000)], namespace="1"
        )
    tracemalloc.start()
    assert pair.copy() == 3000
    assert pair.suspects() == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The vectors themselves take more than 10 MB as Python objects.
    assert peak < 9_000_000


def test_a_new_index_of_the_same_name_is_another_incarnation(pair: Pair) -> None:
    from pinecone import Pinecone

    first = pair.target.incarnation()
    assert pair.target.incarnation() == first
    control = Pinecone(API_KEY, host=pair.servers[1].host)
    schema = control.describe_index(pair.name).schema
    control.delete_index(pair.name)
    control.indexes.create(name=pair.name, schema=schema)
    assert pair.target.incarnation() != first


def test_remove_proves_that_nothing_is_left_though_reads_lag(pair: Pair) -> None:
    pair.collections["1"] = frozenset({"7"})
    for namespace in ("1", "12", "1--a", "kb-7", "cache:1"):
        pair.blue.upsert(vectors=[vector("a"), vector("b")], namespace=namespace)
    pair.faults(stale_ms=200)
    removed = pair.source.remove(pair.feed(), nothing)
    assert dict(removed) == {"docs": 2, "knowledge": 2, "parts": 2, "answers": 0, "cache": 2}
    assert not pair.source.holds(TENANT) and pair.source.holds(TenantId("12"))
    assert sum(pair.source.remove(pair.feed(), nothing).values()) == 0


def test_writers_during_a_copy_are_mended_by_their_keys(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector(f"{n:03}") for n in range(200)], namespace="1")
    touched: set[str] = set()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            id = f"{number * 37 % 220:03}"
            touched.add(id)
            if number % 3:
                pair.blue.upsert(vectors=[vector(id, number + 2)], namespace="1")
            else:
                pair.blue.delete(ids=[id], namespace="1")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    pair.copy()
    stop.set()
    writer.join()
    assert touched
    pair.source.repair(pair.target, pair.feed(), wanted("docs", "1", *touched))
    assert pair.suspects() == {}


@pytest.mark.parametrize("call", ["probe", "compare", "copy"])
def test_the_key_is_never_told(new_pair: Callable[..., Pair], call: str) -> None:
    pair = new_pair(api_key="wrong-key-71")
    if call == "probe":
        found = pair.source.probe()
        assert [one.code for one in refusals(found)] == ["pinecone.reachable"]
        assert "71" not in repr(found)
        return
    with pytest.raises(StoreRejected) as caught:
        if call == "copy":
            pair.copy()
        else:
            pair.source.compare_keys(pair.target, TENANT, wanted("docs", "1", "a"))
    assert "71" not in f"{caught.value!r} {caught.value.next_step} {pair.source.side.client.__dict__.keys()}"
