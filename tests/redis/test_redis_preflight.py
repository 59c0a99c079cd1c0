"""Every reason not to move is found before anything is changed, and nobody's key is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis_pair import KEYS, THEM, US, Pair, fill_every_type, go_on

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import Family, KeyMap, TenantIds
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.redis import RedisServer
from tenant_lifecycle.stores.redis import preflight
from tenant_lifecycle.stores.redis.facts import Facts

MakePair = Callable[..., Pair]


def _not_ok(findings: list[Finding]) -> dict[str, str]:
    return {f"{one.subject} {one.code}": one.severity.value for one in findings if one.severity.value != "ok"}


def _preflight(pair: Pair, tenant: TenantId = US) -> list[Finding]:
    return pair.source.preflight(pair.target, tenant)


def test_a_healthy_pair_is_fine_but_for_its_missing_persistence(pair: Pair) -> None:
    fill_every_type(pair.blue)
    pair.blue.set("celery-task-1", "global")
    pair.blue.set("answer:12:x", "another's")
    found = _preflight(pair)
    assert _not_ok(found) == {
        "blue/redis redis.persistence": "warning",
        "green/redis redis.persistence": "warning",
    }
    assert {"redis.unmapped", "redis.target-occupied", "redis.memory", "redis.version"} <= {
        f.code for f in found
    }
    pair.blue.config_set("save", "3600 1")
    try:
        assert "blue/redis redis.persistence" not in _not_ok(_preflight(pair))
    finally:
        pair.blue.config_set("save", "")


@pytest.mark.parametrize("side", ["blue", "green"])
def test_unmapped_keys_refuse_and_are_not_shown(pair: Pair, side: str) -> None:
    db = getattr(pair, side)
    db.set("bob@example.org:cart", 1)
    found = _preflight(pair)
    assert _not_ok(found)[f"{side}/redis redis.unmapped"] == "refusal"
    assert not any("bob" in f"{one.message}{one.next_step}" for one in found)
    for n in range(5):
        db.set(f"cart:{n}:bob", 1)
    (finding,) = [
        one for one in _preflight(pair) if one.code == "redis.unmapped" and one.subject.startswith(side)
    ]
    assert (
        "6 key(s)" in finding.message and "5 like cart:…" in finding.message and "bob" not in finding.message
    )
    with pytest.raises(UnmappedData) as caught:
        getattr(pair, "source" if side == "blue" else "target").inventory(US)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize("key", ["answer:1:x", "session:1:x", "profile:1", "vec:c1:x"])
def test_a_target_with_keys_of_the_tenant_is_occupied(pair: Pair, key: str) -> None:
    # The collection is known at the source only, as it is before a move.
    pair.ids[US] = TenantIds({"collection": frozenset({"c1"})})
    pair.green.set(key, 1)
    assert _not_ok(_preflight(pair))["green/redis redis.target-occupied"] == "refusal"
    assert "green/redis redis.target-occupied" not in _not_ok(_preflight(pair, THEM))


def test_a_target_that_may_drop_keys_or_has_no_room(pair: Pair) -> None:
    pair.blue.set("answer:1:big", "x" * 5_000_000)
    pair.green.config_set("maxmemory", 5_000_000)
    pair.green.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = _not_ok(_preflight(pair))
        assert found["green/redis redis.eviction"] == "warning"
        assert found["green/redis redis.memory"] == "refusal"
        pair.green.config_set("maxmemory-policy", "volatile-lru")
        assert "green/redis redis.eviction" not in _not_ok(_preflight(pair))
    finally:
        pair.green.config_set("maxmemory", 0)
        pair.green.config_set("maxmemory-policy", "noeviction")


def test_one_server_on_both_sides_is_refused(
    make_pair: MakePair, redis_servers: tuple[RedisServer, ...]
) -> None:
    pair = make_pair((redis_servers[0], redis_servers[0]))
    assert _not_ok(_preflight(pair))["green/redis redis.same-server"] == "refusal"


def test_a_cluster_is_refused_plainly(make_pair: MakePair, new_server: Callable[..., RedisServer]) -> None:
    server = new_server(settings={"cluster-enabled": "yes"})
    pair = make_pair((server, server))
    assert {f.code: f.severity.value for f in pair.source.probe()}["redis.cluster"] == "refusal"
    assert _not_ok(_preflight(pair))["blue/redis redis.cluster"] == "refusal"


def test_a_server_that_does_not_answer_is_a_finding(
    make_pair: MakePair, new_server: Callable[..., RedisServer]
) -> None:
    servers = new_server(), new_server()
    pair = make_pair(servers)
    servers[1].kill()
    assert _not_ok(_preflight(pair))["green/redis redis.reachable"] == "refusal"
    assert _not_ok(pair.target.probe()) == {"green/redis redis.reachable": "refusal"}


FACTS = Facts("redis", "6.2.14", "r", "master", False, True, 0, 0, "noeviction", 0.0, frozenset())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": "6.0.9"}, "redis.version"),
        ({"version": "5.0"}, "redis.version"),
        ({"role": "slave"}, "redis.read-only"),
        ({"persists": None}, "redis.persistence"),
        ({"skew_s": -3.5}, "redis.clock"),
        ({"version": "7.4.1"}, "redis.field-expiry"),
        ({"version": "9.0.0", "product": "valkey"}, "redis.field-expiry"),
    ],
)
def test_what_a_server_tells_is_judged(changes: dict[str, object], code: str) -> None:
    from tenant_lifecycle.stores.redis.facts import check_server

    assert _not_ok(list(check_server(FACTS, "x"))) == {}
    assert set(_not_ok(list(check_server(replace(FACTS, **changes), "x")))) == {f"x {code}"}  # type: ignore[arg-type]


def test_dumps_go_from_older_to_newer_only() -> None:
    def dumps(product: str, version: str) -> int:
        return replace(FACTS, product=product, version=version).dumps

    assert (
        dumps("redis", "6.2.14")
        < dumps("redis", "7.0.15")
        < dumps("redis", "7.2.4")
        < dumps("redis", "7.4.1")
    )
    assert dumps("valkey", "8.0.1") == dumps("redis", "7.2.4")


def test_a_newer_source_or_a_missing_module_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = preflight.read_facts

    def newer(session):  # type: ignore[no-untyped-def]
        facts = real(session)
        return (
            replace(facts, version="7.4.1", modules=frozenset({"ReJSON"}))
            if "blue" in session.store
            else facts
        )

    monkeypatch.setattr(preflight, "read_facts", newer)
    found = _not_ok(_preflight(pair))
    assert found["green/redis redis.dump-version"] == found["green/redis redis.modules"] == "warning"


def test_tenants_that_would_share_keys_are_told(pair: Pair) -> None:
    (fine,) = pair.source.overlaps(US, [US, THEM, TenantId("2")])
    assert fine.severity.value == "ok"
    (finding,) = pair.source.overlaps(TenantId("a"), [TenantId("b"), TenantId("a:b")])
    assert (
        finding.severity.value == "refusal" and "answers" in finding.message and "a:b" not in finding.message
    )


def test_the_inventory_counts_and_measures(pair: Pair) -> None:
    for n in range(700):
        pair.blue.set(f"answer:1:{n}", "x" * 1_000)
        pair.blue.set(f"answer:12:{n}", "x")
    pair.blue.set("session:1:a", 1)
    for exact in (False, True):
        sizes = {size.name: size for size in pair.source.inventory(US, exact=exact)}
        assert sizes["answers"].items == 700 and sizes["answers"].exact is exact
        assert 700_000 < sizes["answers"].bytes < 1_500_000
        assert sizes["sessions"].items == 1 and sizes["warm"].items == 0
    assert pair.source.holds(US) and not pair.target.holds(US)


def test_removal_takes_every_family_and_leaves_the_token(pair: Pair) -> None:
    fill_every_type(pair.blue)
    for key in ("session:1:x", "warm:1:x", "profile:1", "answer:12:x"):
        pair.blue.set(key, 1)
    pair.copy()
    assert pair.source.remove(pair.feed(token=3), go_on) == {
        "answers": 14, "profile": 1, "vectors": 0, "named": 0, "warm": 1, "sessions": 1,
    }  # fmt: skip
    assert [k for k in pair.blue.keys("*") if not k.endswith(b"token")] == [b"answer:12:x"]
    pair.target.remove(pair.feed(token=3), go_on)
    assert [k for k in pair.green.keys("*") if not k.endswith(b"token")] == []
    assert sum(pair.source.remove(pair.feed(token=3), go_on).values()) == 0


def test_many_patterns_are_found_in_one_walk(make_pair: MakePair) -> None:
    keys = KeyMap({f"f{n}": Family(Template.parse(f"f{n}:{{tenant}}:*")) for n in range(9)})
    pair = make_pair(keys=keys)
    for n in range(9):
        pair.blue.set(f"f{n}:1:x", n)
        pair.blue.set(f"f{n}:12:x", n)
    before = pair.blue.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"]
    assert pair.copy() == 9
    assert pair.blue.info("commandstats")["cmdstat_scan"]["calls"] == before + 1
    assert pair.suspects() == {}


def test_the_sample_map_mentions_what_it_should() -> None:
    assert KEYS.mentions("answer:anything:x") and not KEYS.mentions("else")
