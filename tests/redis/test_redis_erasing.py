"""A tenant leaves a Redis server: keys, members of shared containers, and what XDEL and the slow log keep."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis_pair import KEYS, THEM, US, Pair, client, fill_every_type, fill_stream

from erasing_marks import CONTROL, erase_all, erasing, finder, frozen, go_on, hits, left_of, searched
from tenant_lifecycle.errors import Fenced, StoreRejected
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.erasing import Level

SECRET = "marker-of-the-tenant-93b1"
SHARED = replace(
    KEYS,
    shared={
        "events": Shared(Template.parse("events*"), ("tenant_id",)),
        "online": Shared(Template.parse("online"), owner=Template.parse("{tenant}:*")),
        "scores": Shared(Template.parse("scores"), owner=Template.parse("{tenant}:*")),
        "recent": Shared(Template.parse("recent"), owner=Template.parse("{tenant}:*")),
        "profiles": Shared(Template.parse("profiles"), ("tenant",)),
        "tasks": Shared(Template.parse("celery"), ("body", "1", "tenant_id")),
    },
    globals=(),
)
HOSTILE = ["*", "?", "[ab]", "{x}", "a/b", "x\ny", "x'; DROP", "zürich 租户"]


@pytest.fixture
def shared(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(keys=SHARED)


def task(tenant: str, secret: str) -> bytes:
    """A task as Celery 5 puts it into a list: arguments as base64 in the body."""
    body = base64.b64encode(json.dumps([[], {"tenant_id": tenant, "text": secret}, {}]).encode()).decode()
    headers = {"lang": "py", "task": "index", "id": "0", "argsrepr": "()"}
    return json.dumps({"body": body, "headers": headers, "content-type": "application/json"}).encode()


def fill_shared(db: Any, tenant: str, secret: str) -> None:
    for number in range(20):
        db.xadd(
            "events",
            {"tenant_id": tenant, "text": f"{secret}-{number}"},
            id=f"{(3 - len(tenant)) * 1000 + number}-1",
        )
    db.sadd("online", f"{tenant}:{secret}")
    db.zadd("scores", {f"{tenant}:{secret}": 1.5})
    db.rpush("recent", f"{tenant}:{secret}", f"{tenant}:{secret}")
    db.hset("profiles", f"field-{tenant}", json.dumps({"tenant": tenant, "name": secret}))
    db.rpush("celery", task(tenant, secret))


def state(db: Any) -> dict[bytes, object]:
    """Everything a neighbour can see."""
    read: dict[bytes, Callable[[bytes], object]] = {
        b"string": db.get,
        b"list": lambda key: db.lrange(key, 0, -1),
        b"set": lambda key: sorted(db.smembers(key)),
        b"hash": lambda key: sorted(db.hgetall(key).items()),
        b"zset": lambda key: db.zrange(key, 0, -1, withscores=True),
        b"stream": lambda key: (db.xrange(key), db.xinfo_groups(key), pending(db, key)),
    }
    keys = sorted(db.scan_iter(count=10_000))
    return {key: read[db.type(key)](key) for key in keys if not key.startswith(b"tenant_lifecycle:")}


def pending(db: Any, key: bytes) -> list[tuple[object, ...]]:
    return [
        (group["name"], one["message_id"], one["consumer"], one["times_delivered"])
        for group in db.xinfo_groups(key)
        for one in db.xpending_range(key, group["name"], "-", "+", 99)
    ]


def test_every_key_of_every_type_goes_and_the_neighbour_stays_byte_for_byte(pair: Pair) -> None:
    fill_every_type(pair.blue, b"answer:12:")
    pair.blue.set("profile:12", "theirs")
    before = state(pair.blue)
    fill_every_type(pair.blue, b"answer:1:")
    pair.blue.set("profile:1", SECRET)
    pair.blue.set("session:1:x", SECRET)
    batches, done, settled = erase_all(pair.source, US)
    assert sum(one.deleted for one in done) == sum(len(batch.keys) for batch in batches) == 16
    assert state(pair.blue) == before
    assert not left_of(pair.source, US, batches)
    assert not hits(pair.source, finder(SECRET))
    assert not settled.left


@pytest.mark.parametrize("tenant", HOSTILE)
def test_an_id_with_letters_that_mean_something_takes_nobody_elses(shared: Pair, tenant: str) -> None:
    for other in ["a", "ab", "xay", "12", tenant + "1", "1" + tenant]:
        shared.blue.set(f"answer:{other}:k", other)
        fill_shared(shared.blue, other, "neighbour") if other == "12" else None
        shared.blue.sadd("online", f"{other}:me")
    before = state(shared.blue)
    shared.blue.set(f"answer:{tenant}:k", SECRET)
    shared.blue.sadd("online", f"{tenant}:{SECRET}")
    shared.blue.rpush("celery", task(tenant, SECRET))
    erase_all(shared.source, tenant)
    assert state(shared.blue) == before
    assert not hits(shared.source, finder(SECRET))


def test_members_of_shared_containers_go_and_the_others_stay(shared: Pair) -> None:
    fill_shared(shared.blue, THEM, "theirs")
    before = state(shared.blue)
    fill_shared(shared.blue, US, SECRET)
    batches, done, _ = erase_all(shared.source, US)
    assert sum(one.deleted for one in done) == 20 + 5
    assert state(shared.blue) == before
    assert not left_of(shared.source, US, batches)
    assert not hits(shared.source, finder(SECRET))


def test_a_stream_from_which_entries_were_only_deleted_is_residue_until_it_is_rebuilt(shared: Pair) -> None:
    """The naive deletion: XDEL. M13 of the measurements: the bytes stay."""
    fill_shared(shared.blue, THEM, "theirs")
    fill_shared(shared.blue, US, SECRET)
    for batch in frozen(shared.source, US):
        shared.source.erase(erasing(US), batch, go_on)
    assert [hit.where for hit in hits(shared.source, finder(SECRET))] == ["events"] * 20
    shared.source.settle(erasing(US), ["events"], go_on)
    assert not hits(shared.source, finder(SECRET))


def test_a_rebuilt_stream_keeps_ids_groups_consumers_pending_entries_and_expiry(shared: Pair) -> None:
    fill_stream(shared.blue, b"events:busy")
    shared.blue.xadd("events:busy", {"tenant_id": US, "text": SECRET}, id="2000-1")
    shared.blue.xdel("events:busy", "1005-1")
    shared.blue.pexpire("events:busy", 3_600_000)
    erase_all(shared.source, US)
    after = state(shared.blue)[b"events:busy"]
    assert [id_ for id_, _ in after[0]][:3] == [b"1000-1", b"1001-1", b"1002-1"]  # type: ignore[index]
    info = shared.blue.xinfo_stream("events:busy")
    assert info["last-generated-id"] == b"2000-1"
    assert {group["name"] for group in shared.blue.xinfo_groups("events:busy")} == {b"workers", b"idle"}
    consumers = {one["name"]: one["pending"] for one in shared.blue.xinfo_consumers("events:busy", "workers")}
    assert consumers[b"lazy"] == 0 and consumers[b"alice"] >= 2
    assert 3_500_000 < shared.blue.pttl("events:busy") <= 3_600_000


def test_an_entry_written_while_a_stream_is_rebuilt_is_not_lost(shared: Pair) -> None:
    fill_shared(shared.blue, THEM, "theirs")
    fill_shared(shared.blue, US, SECRET)
    batches = frozen(shared.source, US)
    for batch in batches:
        shared.source.erase(erasing(US), batch, go_on)
    written: list[Any] = []

    def write_in_between() -> None:
        if len(written) < 3:
            written.append(shared.blue.xadd("events", {"tenant_id": THEM, "text": "late"}))

    shared.source.settle(erasing(US), ["events"], write_in_between)
    ids = [id_ for id_, _ in shared.blue.xrange("events") or []]
    assert len(written) == 3 and set(written) <= set(ids) and len(ids) == 23
    assert not hits(shared.source, finder(SECRET))


def test_files_on_disk_are_written_anew_and_hold_nothing(
    new_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    server = new_server(appendonly=True, settings={"rdbcompression": "no", "save": "3600 1"})
    pair = Pair((server, server), keys=SHARED)
    try:
        fill_shared(pair.blue, THEM, "theirs")
        fill_shared(pair.blue, US, SECRET)
        pair.blue.save()

        def on_disk() -> int:
            files = [path for path in server.folder.rglob("*") if path.is_file()]
            return sum(path.read_bytes().count(SECRET.encode()) for path in files)

        assert on_disk() > 0
        batches = frozen(pair.source, US)
        for batch in batches:
            pair.source.erase(erasing(US), batch, go_on)
        assert on_disk() > 0
        settled = pair.source.settle(erasing(US), sorted({batch.set for batch in batches}), go_on)
        assert on_disk() == 0
        assert {"append-only file written anew", "snapshot written anew"} <= set(settled.done)
    finally:
        pair.close()


def test_the_slow_log_is_searched_and_emptied(pair: Pair) -> None:
    pair.blue.config_set("slowlog-log-slower-than", 0)
    try:
        pair.blue.set("answer:1:k", SECRET)
        assert [hit.place for hit in hits(pair.source, finder(SECRET)) if hit.where == "slow log"] == [
            "server"
        ]
        pair.blue.config_set("slowlog-log-slower-than", -1)
        erase_all(pair.source, US)
        assert not hits(pair.source, finder(SECRET))
    finally:
        pair.blue.config_set("slowlog-log-slower-than", 10_000)


def test_searching_leaves_no_identifier_in_the_slow_log(pair: Pair) -> None:
    pair.blue.set("answer:1:k", "v")
    pair.blue.config_set("slowlog-log-slower-than", 0)
    try:
        searched(pair.source, finder(SECRET))
        seen = b" ".join(one["command"] for one in pair.blue.slowlog_get(1000))
        assert SECRET.encode() not in seen
    finally:
        pair.blue.config_set("slowlog-log-slower-than", 10_000)


def test_what_lies_in_another_database_or_under_no_rule_is_found_and_a_rule_proposed(pair: Pair) -> None:
    with client(pair.servers[0]) as other:
        other.select(3)
        other.set("forgotten", SECRET)
    pair.blue.set("shadow:cache", SECRET)
    pair.blue.set("answer:1:k", SECRET)
    found = {(hit.place, hit.where): hit.proposal for hit in hits(pair.source, finder(SECRET))}
    assert found["db0", "answer:1:k"] == ""
    assert "shadow:*" in found["db0", "shadow:cache"]
    assert "db3" in found["db3", "forgotten"]
    assert any(one.code == "redis.unmapped" for one in refusals(pair.source.erasure_findings(US)))
    assert any(one.code == "redis.databases" for one in pair.source.erasure_findings(US))


def test_names_and_every_kind_of_value_are_searched(pair: Pair) -> None:
    put: list[tuple[str, Callable[[], object]]] = [
        (f"warm:{SECRET}", lambda: pair.blue.set(f"warm:{SECRET}", "v")),
        ("blob:s", lambda: pair.blue.set("blob:s", "x" * 100_000 + SECRET)),
        ("blob:l", lambda: pair.blue.rpush("blob:l", *(["x"] * 3000), SECRET)),
        ("blob:h", lambda: pair.blue.hset("blob:h", SECRET, "v")),
        ("blob:v", lambda: pair.blue.hset("blob:v", "f", SECRET)),
        ("blob:m", lambda: pair.blue.sadd("blob:m", SECRET)),
        ("blob:z", lambda: pair.blue.zadd("blob:z", {SECRET: 1})),
        ("blob:g", lambda: pair.blue.xgroup_create("blob:g", SECRET, "$", mkstream=True)),
        ("celery", lambda: pair.blue.rpush("celery", task("1", SECRET))),
    ]
    for _, write in put:
        write()
    assert {hit.where for hit in hits(pair.source, finder(SECRET))} == {where for where, _ in put}


def test_the_control_is_found_where_it_was_planted(pair: Pair) -> None:
    (planted,) = pair.source.plant(erasing("ctl"), CONTROL)
    looked = searched(pair.source, finder(SECRET))
    assert looked[planted.place].control_found
    assert not looked["server"].hits


def test_a_planted_marker_goes_with_the_tenant(pair: Pair) -> None:
    pair.source.plant(erasing(US), SECRET)
    assert hits(pair.source, finder(SECRET))
    erase_all(pair.source, US)
    assert not hits(pair.source, finder(SECRET))


def test_killed_between_batches_and_run_again_nothing_is_left_and_nothing_else_goes(shared: Pair) -> None:
    fill_shared(shared.blue, THEM, "theirs")
    before = state(shared.blue)
    fill_shared(shared.blue, US, SECRET)
    for number in range(1_200):
        shared.blue.set(f"answer:1:{number}", SECRET)
    batches = frozen(shared.source, US)
    for batch in batches[: len(batches) // 2]:
        shared.source.erase(erasing(US, 1), batch, go_on)
    again = [shared.source.erase(erasing(US, 2), batch, go_on) for batch in batches]
    assert sum(one.gone for one in again) == sum(len(batch.keys) for batch in batches[: len(batches) // 2])
    for token in (2, 3):
        shared.source.settle(erasing(US, token), [batch.set for batch in batches], go_on)
    assert state(shared.blue) == before
    with pytest.raises(Fenced):
        shared.source.erase(erasing(US, 1), batches[0], go_on)
    with pytest.raises(Fenced):
        shared.source.settle(erasing(US, 1), ["events"], go_on)


def test_the_check_is_asked_before_every_deletion(pair: Pair) -> None:
    pair.blue.set("answer:1:k", SECRET)
    (batch,) = frozen(pair.source, US)

    def stop() -> None:
        raise StoreRejected("a hold was placed", store="blue")

    with pytest.raises(StoreRejected):
        pair.source.erase(erasing(US), batch, stop)
    assert pair.blue.get("answer:1:k") == SECRET.encode()


def test_a_member_that_became_somebody_elses_is_left_and_told(shared: Pair) -> None:
    shared.blue.hset("profiles", "f", json.dumps({"tenant": US}))
    (batch,) = frozen(shared.source, US)
    shared.blue.hset("profiles", "f", json.dumps({"tenant": THEM}))
    done = shared.source.erase(erasing(US), batch, go_on)
    assert done.deleted == 0 and [one.code for one in done.refused] == ["NotTheTenants"]
    assert shared.blue.hexists("profiles", "f")


def test_a_verifier_without_rights_reads_nothing_and_says_so(pair: Pair) -> None:
    pair.blue.execute_command(
        "ACL",
        "SETUSER",
        "blind",
        "on",
        ">pw",
        "~answer:*",
        "+scan",
        "+info",
        "+select",
        "+type",
        "+client|setname",
    )
    try:
        url = f"redis://blind:pw@127.0.0.1:{pair.servers[0].port}/0"
        blind = pair.store(pair.servers[0], url=url)
        pair.blue.set("answer:1:k", SECRET)
        looked = searched(blind, finder(SECRET))
        assert looked["db0"].unread and looked["server"].unread and not looked["db0"].control_found
        assert {one.code for one in refusals(blind.verifier_findings())} == {"redis.verifier-rights"}
        wrong = pair.store(pair.servers[0], url=url.replace("pw@", "no@"))
        assert {one.code for one in refusals(wrong.verifier_findings())} == {"redis.reachable"}
    finally:
        pair.blue.acl_deluser("blind")


def test_a_verifier_that_reads_everything_is_taken_and_one_that_may_write_is_told(pair: Pair) -> None:
    found = pair.source.verifier_findings()
    assert not refusals(found)
    assert "redis.verifier-writes" in {one.code for one in found}
    assert pair.source.proves is Level.EXHAUSTIVE
