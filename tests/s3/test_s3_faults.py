"""Faults: a busy service, a dead one, a killed driver; bounded memory, and nothing unfinished left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3_busy_proxy import BusyProxy
from s3_pair import US, MakePair, Pair, make_pair_of, nothing
from tenant_lifecycle.errors import StoreBusy, StoreRejected, StoreUnavailable
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.stores.s3 import transfer
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.token import Guard

MIB = 1024 * 1024
KEY = "documents/12/big"
TESTS = Path(__file__).parents[1]


@pytest.fixture
def own_server() -> Iterator[ObjectServer]:
    """A server of the test's own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-objects-") as folder:
        with ObjectServer(Path(folder), buckets=("blue", "green")) as server:
            yield server


def test_a_service_that_is_often_busy_is_waited_for(
    object_servers: Callable[[int], ObjectServer], make_pair: MakePair
) -> None:
    pair = make_pair()
    for n in range(2):
        pair.put(f"documents/12/{n}", b"%d" % n)
    ends = object_servers(0), object_servers(1)
    with BusyProxy(ends[0].port, 0.1) as blue, BusyProxy(ends[1].port, 0.1, seed=1) as green:
        slow = make_pair_of(
            (ends[0].endpoint, ends[1].endpoint), pair.names, through=(blue.endpoint, green.endpoint)
        )
        slow.copy()
        assert slow.suspects() == {}
        assert blue.refused + green.refused
        green.share = 1.0
        pair.put("documents/12/0", b"new")
        with pytest.raises(StoreBusy) as caught:
            slow.repair("documents/12/0")
        assert caught.value.retryable and caught.value.store == "green/objects"
        green.share = 0.0
        assert slow.repair("documents/12/0") == 1
        slow.close()


def test_a_server_killed_in_the_middle_of_a_copy_is_unavailable(
    own_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair_of((own_server.endpoint, own_server.endpoint), ("blue", "green"))
    for n in range(20):
        pair.put(f"documents/12/{n}")
    part = pair.source.split(pair.target, pair.feed)[0]
    real = Bucket.put
    done = []

    def put(self: Bucket, *arguments: object) -> str:
        done.append(1)
        if len(done) == 5:
            own_server.kill()
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "put", put)
    with pytest.raises(StoreUnavailable) as caught:
        pair.source.copy_part(pair.target, pair.feed, part, nothing)
    assert caught.value.retryable
    with pytest.raises(StoreUnavailable):
        pair.source.incarnation()
    assert [one.code for one in pair.source.probe()] == ["s3.reachable"]
    pair.close()


def test_an_answer_that_breaks_off_is_a_store_that_is_away_for_a_moment(own_server: ObjectServer) -> None:
    pair = make_pair_of((own_server.endpoint, own_server.endpoint), ("blue", "green"))
    pair.put("documents/12/a", b"0123456789" * 100)
    pair.copy()
    guard = Guard(pair.target.area.bucket, pair.feed)
    own_server.faults(resets=1.0)
    for reading in (guard.check, lambda: pair.target.area.bucket.small(guard.key), pair.copy):
        with pytest.raises(StoreUnavailable) as caught:
            reading()
        assert caught.value.retryable
    own_server.faults(resets=0.0)
    guard.check()
    assert pair.suspects() == {}
    pair.close()


@pytest.mark.parametrize("fault", ["slow_down", "errors"])
def test_a_service_in_trouble_is_no_lasting_reason_against_a_move(
    own_server: ObjectServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair_of((own_server.endpoint, own_server.endpoint), ("blue", "green"))
    pair.put("documents/12/a")
    assert refusals(pair.source.preflight(pair.target, US)) == []
    own_server.faults(**{fault: 1.0})
    found = refusals(pair.source.preflight(pair.target, US))
    assert [(one.code, one.passing) for one in found] == [("s3.reachable", True)]
    own_server.faults(**{fault: 0.0})
    real = Bucket.call

    def call(self: Bucket, operation: str, **parameters: object) -> object:
        if operation == "get_object":
            own_server.faults(**{fault: 1.0})
        return real(self, operation, **parameters)

    # The trouble begins when objects are tried: that they cannot be read just now says nothing about their keys.
    monkeypatch.setattr(Bucket, "call", call)
    found = refusals(pair.source.preflight(pair.target, US))
    assert [(one.code, one.passing) for one in found] == [("s3.reachable", True)]
    own_server.faults(**{fault: 0.0})
    pair.close()


def test_a_restarted_emulator_shows_that_it_lost_everything(own_server: ObjectServer) -> None:
    pair = make_pair_of((own_server.endpoint, own_server.endpoint), ("blue", "green"))
    pair.put(KEY)
    before = pair.source.incarnation()
    assert pair.source.incarnation() == before
    # A bucket's age is told in whole seconds; one that is made anew in the same second looks like the old one.
    time.sleep(1.0)
    own_server.restart()
    assert pair.source.incarnation() != before
    assert not pair.source.holds(US)
    pair.close()


def test_a_bucket_that_vanished_is_never_taken_for_an_empty_one(pair: Pair) -> None:
    pair.put("documents/12/a")
    pair.copy()
    pair.source.compare(pair.target, US, "documents", nothing)
    for version in pair.blue.list_object_versions(Bucket=pair.names[0])["Versions"]:
        pair.blue.delete_object(Bucket=pair.names[0], Key=version["Key"], VersionId=version["VersionId"])
    pair.blue.delete_bucket(Bucket=pair.names[0])
    with pytest.raises(StoreRejected, match="NoSuchBucket"):
        pair.repair("documents/12/a")
    with pytest.raises(StoreRejected, match="NoSuchBucket"):
        pair.source.compare_keys(pair.target, US, {"documents": frozenset({b"documents/12/a"})})
    with pytest.raises(StoreRejected, match="not there"):
        pair.source.incarnation()
    assert pair.keys_there() == ["documents/12/a"]


@pytest.mark.parametrize("apart", [True, False])
def test_a_large_object_arrives_whole_with_everything_and_leaves_nothing_unfinished(
    make_pair: MakePair, apart: bool
) -> None:
    pair = make_pair(apart=apart)
    whole = os.urandom(18 * MIB + 7)
    pair.put(KEY, whole, ContentType="x/y", Metadata={"a": "b"}, Tagging="k=v")
    pair.copy()
    there = pair.green.get_object(Bucket=pair.names[1], Key=KEY)
    assert there["Body"].read() == whole
    assert (there["ContentType"], there["Metadata"], there["TagCount"]) == ("x/y", {"a": "b"}, 1)
    assert pair.uploads_there() == []
    assert pair.suspects() == {}


def test_a_very_large_object_is_copied_inside_the_service_in_parts(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_pair(apart=False)
    monkeypatch.setattr(transfer, "LARGEST_COPY", 9 * MIB)
    monkeypatch.setattr(transfer, "COPIED_PART", 5 * MIB)
    whole = os.urandom(12 * MIB)
    pair.put(KEY, whole, Metadata={"a": "b"}, Tagging="k=v")
    pair.copy()
    there = pair.green.get_object(Bucket=pair.names[1], Key=KEY)
    assert there["Body"].read() == whole and there["ETag"].endswith('-3"')
    assert pair.suspects() == {}
    assert pair.uploads_there() == []


def test_memory_stays_bounded_whatever_the_objects_size(pair: Pair) -> None:
    pair.put(KEY, b"\0" * (64 * MIB))
    tracemalloc.start()
    try:
        pair.copy()
        assert pair.suspects() == {}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * MIB
    assert pair.green.head_object(Bucket=pair.names[1], Key=KEY)["ContentLength"] == 64 * MIB


def test_a_failed_upload_is_aborted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.put(KEY, os.urandom(17 * MIB))
    real = Bucket.call

    def call(self: Bucket, operation: str, **parameters: object) -> object:
        if operation == "upload_part" and parameters["PartNumber"] == 2:
            raise StoreUnavailable("cut", store=self.store)
        return real(self, operation, **parameters)

    monkeypatch.setattr(Bucket, "call", call)
    with pytest.raises(StoreUnavailable):
        pair.copy()
    assert pair.uploads_there() == [] and pair.keys_there() == []


DRIVER = """
import sys
from s3_pair import make_pair_of, nothing
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.token import Guard
real = Bucket.call
def call(self, operation, **parameters):
    if operation == "upload_part" and parameters["PartNumber"] == 2:
        print("in the middle", flush=True)
        sys.stdin.read()
    return real(self, operation, **parameters)
Bucket.call = call
make_pair_of((sys.argv[1], sys.argv[2]), (sys.argv[3], sys.argv[4])).copy()
"""


def test_a_driver_killed_in_the_middle_of_an_upload_leaves_nothing_after_the_next(
    object_servers: Callable[[int], ObjectServer], pair: Pair
) -> None:
    whole = os.urandom(17 * MIB)
    pair.put("documents/12/a", b"small")
    pair.put(KEY, whole)
    ends = [object_servers(0).endpoint, object_servers(1).endpoint]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *ends, *pair.names],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}"},
    )  # fmt: skip
    try:
        assert driver.stdout is not None and driver.stdout.readline() == b"in the middle\n"
        end = time.monotonic() + 30
        while pair.history(1, "documents/12/a") != [b"small"] and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    assert pair.uploads_there() == [KEY]
    pair.copy()
    assert pair.uploads_there() == []
    assert pair.history(1, "documents/12/a") == [b"small"]
    assert pair.history(1, KEY) == [whole]
    assert pair.suspects() == {}


def test_a_large_object_that_appeared_meanwhile_is_not_overwritten(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.urandom(9 * MIB)
    pair.put(KEY, whole)
    real = Bucket.call

    def call(self: Bucket, operation: str, **parameters: object) -> object:
        if operation == "complete_multipart_upload" and pair.history(1, KEY) == []:
            pair.put_there(KEY, whole)
        return real(self, operation, **parameters)

    monkeypatch.setattr(Bucket, "call", call)
    assert pair.repair(KEY) == 0
    assert pair.history(1, KEY) == [whole]
    assert pair.uploads_there() == []
