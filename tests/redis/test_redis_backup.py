"""A tenant's keys in a base, in a preview, and live again: exact, and nobody else's."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from redis_pair import NAMED, THEM, US, Pair, fill_every_type, go_on

from keyed_backup import FINGERPRINTS, base_of, preview_of, writing
from tenant_lifecycle.errors import (
    Fenced,
    IntegrityError,
    StoreRejected,
    UnmappedData,
    UsageError,
    WrongState,
)
from tenant_lifecycle.model.backup import parts
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import Held, is_part, items_of
from tenant_lifecycle.model.backup.redis_value import Header, unpacked
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Backs, Captures, CapturesBig, Clocked, Previews
from tenant_lifecycle.stores.erasing import Erasing
from tenant_lifecycle.stores.redis import contents
from tenant_lifecycle.stores.redis.ours import our_key

HOSTILE = [b"x'; DROP", b"*", b"?", b"[a-z]", b"{1}", b"a/b\n", "ü☃".encode(), b"\xff\x00\xfe", b""]


def everything(
    pair: Pair, leave_out: tuple[bytes, ...] = (b"answer:1:", b"profile:1", b"session:1:", b"warm:1:")
) -> dict[bytes, object]:
    """Every key that is not the tenant's nor ours, with its dump and expiry."""
    return {
        key: (pair.blue.dump(key), pair.blue.pttl(key) > 0)
        for key in pair.blue.scan_iter(count=10_000)
        if not key.startswith((*leave_out, b"tenant_lifecycle:"))
    }


@pytest.fixture
def full(pair: Pair) -> Pair:
    fill_every_type(pair.blue)
    for n, name in enumerate(HOSTILE):
        pair.blue.hset(b"answer:1:" + name, mapping={name: b"v%d" % n, b"other": name})
    pair.blue.set("profile:1", "us")
    pair.blue.set("session:1:a", "again")
    pair.blue.set("warm:1:a", "again")
    for key in ("answer:12:a", "profile:12", "celery-queue", "session:12:x"):
        pair.blue.set(key, "theirs")
    return pair


def test_the_store_has_the_abilities(pair: Pair) -> None:
    assert all(
        isinstance(pair.source, ability) for ability in (Backs, Captures, CapturesBig, Previews, Clocked)
    )


def test_a_preview_holds_exactly_what_the_base_had_and_a_promotion_brings_it_back(full: Pair) -> None:
    base, before = base_of(full.source, US), everything(full)
    preview = preview_of(full.source, base, US)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    assert [(one.changed, one.only_live, one.only_restored) for one in preview.diff(5, go_on)] == [
        (0, 0, 0)
    ] * 4
    full.blue.delete("answer:1:text", "answer:1:stream", "answer:1:zset")
    full.blue.set("answer:1:new", "later")
    full.blue.hset("answer:1:hash", "f1", "changed")
    full.blue.persist("answer:1:fading")
    answers = {one.set: one for one in preview.diff(100, go_on)}["answers"]
    assert (answers.only_restored, answers.only_live, answers.changed) == (3, 1, 2)
    assert {"answer:1:text", "answer:1:new", "answer:1:hash"} <= set(answers.examples)
    changed = preview.promote(writing(US), None, go_on)
    assert changed["answers"] == 6 and changed["sessions"] == 1 and changed["warm"] == 1
    assert base_of(full.source, US).fingerprints() == base.fingerprints()
    assert everything(full) == before
    assert set(preview.promote(writing(US), None, go_on).values()) == {0}


def test_the_form_does_not_depend_on_how_a_value_came_about(pair: Pair) -> None:
    """Encodings, the order of insertion, and the server's seed differ; the items do not."""
    names = [b"m%d" % n for n in range(400)]
    for db, order in ((pair.blue, names), (pair.green, names[::-1])):
        for name in order:
            db.hset("answer:1:hash", name, name)
            db.sadd("answer:1:set", name)
            db.zadd("answer:1:zset", {name: 0.1})
        db.hset("answer:1:small", "a", 1)
    # Once a table, always a table: the encoding of a small value stays another.
    pair.green.hset("answer:1:small", "long", "x" * 500)
    pair.green.hdel("answer:1:small", "long")
    assert pair.blue.dump("answer:1:small") != pair.green.dump("answer:1:small")
    assert base_of(pair.source, US).fingerprints() == base_of(pair.target, US).fingerprints()


def test_items_come_in_the_order_of_keys_each_with_the_time_of_its_reading(full: Pair) -> None:
    ticks = iter(range(1_000, 10**6))
    full.source.clock = lambda: next(ticks)
    base = base_of(full.source, US)
    keys = [item.key for item in base["answers"]]
    assert keys == sorted(set(keys)) and base.at_us == 1_000
    assert all(item.at_us > base.at_us for items in base.values() for item in items)


def test_what_can_be_made_again_is_left_out_and_said(full: Pair) -> None:
    base = base_of(full.source, US)
    assert set(base) == {"answers", "profile", "vectors", "named"}
    assert base.facts["left_out"] == {"warm": "can be made again", "sessions": "can be made again"}


def test_a_set_that_only_the_log_has_because_it_can_be_made_again_is_no_obstacle(full: Pair) -> None:
    """The archiver tells of every touched key, also of those that a base leaves out."""
    base = base_of(full.source, US)
    base.shapes["sessions"], base["sessions"] = opaque("sessions"), []
    assert refusals(full.source.check_restore(US, base.shapes, base.facts)) == []
    preview = preview_of(full.source, base, US)
    assert preview.fingerprints(FINGERPRINTS)["sessions"].items == 0
    assert preview.promote(writing(US), None, go_on)["sessions"] == 1
    assert not full.blue.exists("session:1:a") and full.blue.exists("session:12:x")


def test_a_key_without_a_rule_stops_a_base(full: Pair) -> None:
    full.blue.set("forgotten", 1)
    with pytest.raises(UnmappedData):
        base_of(full.source, US)


def test_a_preview_is_nobodys_data(full: Pair) -> None:
    before = full.source.inventory(THEM, exact=True), full.source.inventory(US, exact=True)
    preview_of(full.source, base_of(full.source, US), US)
    assert (full.source.inventory(THEM, exact=True), full.source.inventory(US, exact=True)) == before
    assert full.source.previews() == ["p_1"]
    assert base_of(full.source, US)


def test_a_discarded_preview_leaves_nothing(full: Pair) -> None:
    before = full.blue.dbsize()
    preview = preview_of(full.source, base_of(full.source, US), US)
    preview_of(full.source, base_of(full.source, THEM), THEM, "p_2")
    assert full.source.previews() == ["p_1", "p_2"]
    preview.discard()
    preview.discard()
    assert full.source.previews() == ["p_2"]
    full.source.open_preview(THEM, "p_2", {}, {}).discard()
    assert full.blue.dbsize() == before


def test_removing_a_tenant_removes_their_previews(full: Pair) -> None:
    preview_of(full.source, base_of(full.source, US), US)
    full.source.remove(full.feed(token=9), go_on)
    assert full.source.previews() == []


def test_erasing_a_tenant_erases_their_previews_and_nobody_elses(full: Pair) -> None:
    preview_of(full.source, base_of(full.source, US), US)
    preview_of(full.source, base_of(full.source, THEM), THEM, "p_2")
    full.source.settle(Erasing("erase_1", US, 9), [], go_on)
    assert full.source.previews() == ["p_2"]
    left = full.blue.keys("tenant_lifecycle:*preview*")
    assert left and not [key for key in left if our_key(US) in key]


def test_a_set_is_loaded_anew_when_loading_was_cut_off(full: Pair) -> None:
    base = base_of(full.source, US)
    preview = preview_of(full.source, base, US)

    def cut() -> Iterator[Item]:
        yield from base["answers"][:7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview.load("answers", cut(), go_on)
    assert preview.load("answers", base["answers"], go_on) == len(base["answers"])
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()


def test_a_tenant_without_keys_is_restored_to_nothing(full: Pair) -> None:
    empty = base_of(full.source, TenantId("nobody"))
    assert not any(empty.values())
    preview = preview_of(full.source, empty, "nobody")
    assert set(preview.promote(writing("nobody"), None, go_on).values()) == {0}
    # And somebody who has keys now, to a moment before they had any.
    gone = preview_of(full.source, empty, US, "p_2")
    before = everything(full)
    gone.promote(writing(US), None, go_on)
    assert not full.source.holds(US) and everything(full) == before


def test_only_the_sets_that_were_asked_for_are_promoted(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, US), US)
    full.blue.set("profile:1", "changed")
    full.blue.delete("answer:1:text")
    assert preview.promote(writing(US), ["profile"], go_on) == {"profile": 1}
    assert full.blue.get("profile:1") == b"us" and not full.blue.exists("answer:1:text")
    assert full.blue.exists("session:1:a")
    with pytest.raises(UsageError):
        preview.promote(writing(US), ["profile", "another"], go_on)


def test_an_older_driver_cannot_promote(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, US), US)
    full.blue.set("profile:1", "changed")
    assert preview.promote(writing(US, 7), ["profile"], go_on) == {"profile": 1}
    full.blue.set("profile:1", "again")
    with pytest.raises(Fenced):
        preview.promote(writing(US, 6), ["profile"], go_on)
    assert full.blue.get("profile:1") == b"again"


def test_ids_of_both_moments_say_whose_a_key_is(full: Pair) -> None:
    """The rows are promoted first; what only one of the moments knows comes back, or goes."""
    full.ids[US] = TenantIds({"collection": frozenset({"old"})}, {NAMED: frozenset({"blob:x"})})
    for key in ("vec:old:a", "blob:x"):
        full.blue.set(key, "then")
    base = base_of(full.source, US)
    store = full.store(full.servers[0])
    full.ids[US] = TenantIds({"collection": frozenset({"new"})})
    full.blue.delete("vec:old:a")
    full.blue.set("vec:new:a", "now")
    preview = preview_of(store, base, US)
    with pytest.raises(WrongState) as refused:
        preview.promote(writing(US), None, go_on)
    assert "relational store first" in refused.value.next_step
    assert full.blue.exists("vec:new:a") and not full.blue.exists("vec:old:a")
    # Another process goes on, after the rows were promoted.
    full.ids[US] = TenantIds({"collection": frozenset({"old"})}, {NAMED: frozenset({"blob:x"})})
    fresh = full.store(full.servers[0]).open_preview(US, "p_1", base.shapes, base.facts)
    assert fresh.promote(writing(US), None, go_on)["vectors"] == 2
    assert full.blue.get("vec:old:a") == b"then" and not full.blue.exists("vec:new:a")


def test_ids_that_were_the_tenants_long_ago_count_no_more(
    full: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be another tenant's by now: what is theirs must not go."""
    base = base_of(full.source, US)
    full.ids[US] = TenantIds({"collection": frozenset({"passed-on"})})
    preview = preview_of(full.source, base, US)
    full.ids[US], full.ids[THEM] = TenantIds(), full.ids[US]
    full.blue.set("vec:passed-on:a", "theirs now")
    monkeypatch.setattr("tenant_lifecycle.stores.keyed.REMEMBERED_US", -1)
    preview.promote(writing(US), None, go_on)
    assert full.blue.get("vec:passed-on:a") == b"theirs now"


def test_a_key_of_somebody_else_is_never_promoted(full: Pair) -> None:
    base = base_of(full.source, US)
    stolen = next(item for item in base["answers"] if item.key == b"answer:1:text")
    base["answers"].append(Item("answers", b"answer:12:a", stolen.cells))
    preview, before = preview_of(full.source, base, US), everything(full)
    full.blue.delete("answer:1:text")
    with pytest.raises(WrongState):
        preview.promote(writing(US), None, go_on)
    assert everything(full) == before and not full.blue.exists("answer:1:text")


@pytest.mark.parametrize(("ttl", "left"), [("keep", 0), ("shift", 1), ("drop", 1)])
def test_what_expired_since_is_left_out_unless_the_policy_says_otherwise(
    full: Pair, ttl: str, left: int
) -> None:
    """The moment is two hours ago, and the key expired one hour after it."""
    hour_us, now = 3_600_000_000, time.time_ns() // 1_000
    base = base_of(full.source, US)
    header = Header("string", (now - hour_us) // 1_000)
    base["answers"].append(Item("answers", b"answer:1:short", (Held(header.written(), b"gone").cell(),)))
    preview = preview_of(full.source, base, US, ttl=ttl, moment_us=now - 2 * hour_us)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    answers = {one.set: one for one in preview.diff(0, go_on)}["answers"]
    assert answers.only_restored == left
    preview.promote(writing(US), None, go_on)
    assert full.blue.exists("answer:1:short") == left
    fading, short = full.blue.pttl("answer:1:fading"), full.blue.pttl("answer:1:short")
    if ttl == "shift":
        assert 3_400_000 < short <= 3_600_000 and 10_600_000 < fading <= 10_801_000
    else:
        assert fading == -1 if ttl == "drop" else 3_400_000 < fading <= 3_600_000


@pytest.mark.parametrize("facts", [{"ttl": "sometimes"}, {"ttl": "shift"}])
def test_a_policy_that_is_none_is_refused(pair: Pair, facts: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        pair.source.open_preview(US, "p", {}, facts)


@pytest.mark.parametrize("name", ["", "A", "a*", "a:b", "x" * 41])
def test_a_name_that_is_none_is_refused(pair: Pair, name: str) -> None:
    with pytest.raises(UsageError):
        pair.source.open_preview(US, name, {}, {})


def fill_big(db: object, mib: int = 9) -> None:
    """A value of each type above the size of a part."""
    chunk = os.urandom(64 * 1024)
    for n in range(mib * 16):
        db.append("answer:1:big text", chunk)  # type: ignore[attr-defined]
        db.rpush("answer:1:big list", chunk)  # type: ignore[attr-defined]
        db.hset("answer:1:big hash", b"f%d" % n, chunk)  # type: ignore[attr-defined]
        db.sadd("answer:1:big set", b"%d" % n + chunk)  # type: ignore[attr-defined]
        db.zadd("answer:1:big zset", {b"%d" % n + chunk: n / 3})  # type: ignore[attr-defined]
        db.xadd("answer:1:big stream", {b"f": chunk}, id=f"{n + 1}-1")  # type: ignore[attr-defined]


def test_big_values_go_in_parts_and_come_back(full: Pair) -> None:
    fill_big(full.blue)
    base, before = base_of(full.source, US), everything(full)
    big = [
        item
        for item in base["answers"]
        if not is_part(item.key) and Held.read(item.cells[0] or b"").content is None
    ]
    assert len(big) == 6 and all(len(item.cells[0] or b"") <= parts.PART_BYTES for item in base["answers"])
    preview = preview_of(full.source, base, US)
    assert preview.fingerprints(FINGERPRINTS) == base.fingerprints()
    full.blue.delete("answer:1:big text", "answer:1:big set", "answer:1:big stream", "answer:1:big list")
    full.blue.hdel("answer:1:big hash", "f3")
    assert preview.promote(writing(US), None, go_on)["answers"] == 5
    assert base_of(full.source, US).fingerprints() == base.fingerprints() and everything(full) == before
    preview.discard()
    assert not list(full.blue.scan_iter("tenant_lifecycle:*preview*"))


def test_a_big_item_that_lacks_a_part_is_refused(full: Pair) -> None:
    *some, head = items_of(
        "answers", b"answer:1:x", Header("string").written(), [b"x" * (parts.PART_BYTES + 1)], 0
    )
    preview = full.source.open_preview(US, "p", base_of(full.source, US).shapes, {})
    with pytest.raises(IntegrityError, match="part is missing"):
        preview.load("answers", [some[0], head], go_on)


@pytest.mark.parametrize("cells", [(), (None,), (b"",), (b"\0\0\0\2{}I",), (b"\0\0\0\0Ix",)])
def test_an_item_that_is_none_of_redis_is_refused(full: Pair, cells: tuple[bytes | None, ...]) -> None:
    preview = full.source.open_preview(US, "p", base_of(full.source, US).shapes, {})
    with pytest.raises(IntegrityError):
        preview.load("answers", [Item("answers", b"answer:1:x", cells)], go_on)


def test_a_value_that_is_written_while_it_is_read_is_read_as_it_was_at_one_moment(
    full: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the first attempts somebody replaces all of a big hash in one step, in the middle of the reading."""
    monkeypatch.setattr(contents, "BIG_BYTES", 1_000)
    monkeypatch.setattr(contents, "PAGE_ELEMENTS", 50)
    fields = [b"f%d" % n for n in range(1_000)]
    attempts = itertools.count(1)
    walk = contents._walk

    def disturbed(*arguments: Any) -> Iterator[list[bytes]]:
        attempt = next(attempts)
        for number, page in enumerate(walk(*arguments)):
            if number == 3 and attempt < 4:
                full.blue.hset("answer:1:moving", mapping=dict.fromkeys(fields, b"%d" % attempt))
            yield page

    full.blue.hset("answer:1:moving", mapping=dict.fromkeys(fields, b"0"))
    monkeypatch.setattr(contents, "_walk", disturbed)
    *_, item = full.source.capture_big(US, b"answer:1:moving")
    assert _values(Held.read(item.cells[0] or b"")) == {b"3"} and next(attempts) == 5


def _values(held: Held) -> set[bytes]:
    return {value for _, value in unpacked([held.content or b""])}


def test_captured_keys_are_the_items_of_a_base(full: Pair) -> None:
    fill_big(full.blue)
    base = {item.key: item for item in base_of(full.source, US)["answers"]}
    keys = [key for key in base if not is_part(key)]
    asked = [*keys, b"answer:1:absent", b"answer:12:a", b"session:1:a", b"celery-queue"]
    captured = full.source.capture(US, asked)
    assert captured[len(keys) :] == [None] * 4
    for key, item in zip(keys, captured, strict=False):
        assert item is not None
        if not item.cells:
            *_, item = full.source.capture_big(US, key)
        assert (item.set, item.cells) == (base[key].set, base[key].cells)
    assert sum(not item.cells for item in captured if item is not None) == 6
    assert list(full.source.capture_big(US, b"answer:12:a")) == []
    assert list(full.source.capture_big(US, b"answer:1:absent")) == []


def test_a_dump_of_a_newer_server_is_refused_by_name(full: Pair) -> None:
    dump = bytearray(full.blue.dump("answer:1:text"))
    dump[-10:-8] = (99).to_bytes(2, "little")
    held = Held(Header("somemodule").written(), bytes(dump))
    preview = full.source.open_preview(US, "p", base_of(full.source, US).shapes, {})
    with pytest.raises(StoreRejected, match="newer server"):
        preview.load("answers", [Item("answers", b"answer:1:x", (held.cell(),))], go_on)
    found = full.source.check_restore(US, {}, {"dumped": {"somemodule": 2}, "dumps": 99, "version": "99.0"})
    assert [one.code for one in refusals(found)] == ["redis.version"]


def test_a_restore_that_cannot_be_is_refused_before(full: Pair, make_pair: Callable[..., Pair]) -> None:
    base = base_of(full.source, US)
    assert refusals(full.source.check_restore(US, base.shapes, base.facts)) == []
    strange = {**base.shapes, "another": next(iter(base.shapes.values()))}
    assert [one.code for one in refusals(full.source.check_restore(US, strange, base.facts))] == [
        "redis.unmapped"
    ]
    full.blue.config_set("maxmemory", 200 * 2**20)
    try:
        found = refusals(full.source.check_restore(US, base.shapes, {**base.facts, "bytes": 2**30}))
        assert [one.code for one in found] == ["redis.room"]
    finally:
        full.blue.config_set("maxmemory", 0)


def test_a_preview_that_lost_values_is_not_promoted(full: Pair) -> None:
    preview = preview_of(full.source, base_of(full.source, US), US)
    value = next(
        key
        for key in full.blue.scan_iter("tenant_lifecycle:*preview*")
        if key.endswith(b"answer:1:text".hex().encode())
    )
    full.blue.delete(value)
    full.blue.set("answer:1:text", "live")
    with pytest.raises(IntegrityError, match="lost values"):
        preview.promote(writing(US), None, go_on)
    assert full.blue.get("answer:1:text") == b"live"


def test_a_base_holds_a_bounded_part_of_a_big_tenant(full: Pair) -> None:
    """Nothing is read before it is asked for."""
    for n in range(3_000):
        full.blue.set(b"answer:1:n%d" % n, b"x" * 1_000)
    with full.source.read_base(US, go_on) as reading:
        items: Iterable[Item] = reading.items("answers")
        first = next(iter(items))
        full.blue.set("answer:1:n999", "changed meanwhile")
        rest = {item.key: item for item in items}
    assert first.key not in rest
    assert b"changed meanwhile" in (rest[b"answer:1:n999"].cells[0] or b"")
