"""What every keyed store promises, as tests: for ours, and for authors of others.

Subclass `KeyedStoreContract` in a module that pytest collects, and say in `bench` how to get a `Bench` of your
store. Every test takes its own. The key map of the bench must have the families ``docs`` (``docs/{tenant}/*``,
moved) and ``cache`` (``cache/{tenant}/*``, skipped), or what means the same in the system's own terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pytest

from tenant_lifecycle.errors import Fenced
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import DifferenceKind
from tenant_lifecycle.stores.base import (
    Copies,
    Digests,
    Feed,
    Keyed,
    Keys,
    Prepares,
    Removes,
    Store,
)

#: Tenants whose ids are traps, each beside one that it must not be taken for.
TENANTS = ("1", "12", "a*b", "it's; --%s", "zürich 租户")


class WholeStore(Store, Prepares, Copies, Digests, Keyed, Removes, Protocol):
    """Everything a keyed store can do."""


class Bench(Protocol):
    """Two stores of the kind, and ways past them to the systems behind."""

    source: WholeStore
    target: WholeStore

    def key(self, tenant: str, item: str, family: str = "docs") -> bytes:
        """The key of an item, as the store spells it."""

    def put(self, side: Store, tenant: str, item: str, content: str, family: str = "docs") -> None:
        """Write an item as an application would."""

    def drop(self, side: Store, tenant: str, item: str, family: str = "docs") -> None:
        """Delete it."""

    def content(self, side: Store, tenant: str, item: str, family: str = "docs") -> str | None:
        """What was put; None if it is not there."""


@dataclass(frozen=True)
class _Filled:
    """A bench where every tenant has a few items at the source."""

    bench: Bench

    @property
    def keys(self) -> dict[str, list[str]]:
        return {tenant: [f"{n}.txt" for n in range(4)] for tenant in TENANTS}


def _nothing() -> None:
    """A check that lets the work go on."""


class KeyedStoreContract:
    """The promises; one test each."""

    @pytest.fixture
    def bench(self) -> Bench:
        raise NotImplementedError("say how to make a bench of your store")

    @pytest.fixture
    def filled(self, bench: Bench) -> _Filled:
        filled = _Filled(bench)
        for tenant, items in filled.keys.items():
            for item in items:
                bench.put(bench.source, tenant, item, f"{tenant} {item}")
        return filled

    def feed(self, tenant: str, token: int = 1) -> Feed:
        return Feed("tl_contract_fwd", TenantId(tenant), token)

    def copy(self, bench: Bench, tenant: str, token: int = 1) -> None:
        feed = self.feed(tenant, token)
        for part in bench.source.split(bench.target, feed):
            bench.source.copy_part(bench.target, feed, part, _nothing)

    def suspects(self, bench: Bench, tenant: str) -> Keys:
        found: dict[str, frozenset[bytes]] = {}
        for name in bench.source.sets(TenantId(tenant)):
            found.update(bench.source.compare(bench.target, TenantId(tenant), name, _nothing).suspects)
        return found

    # -- copy

    @pytest.mark.parametrize("tenant", TENANTS)
    def test_a_copy_brings_over_this_tenant_and_nobody_else(self, filled: _Filled, tenant: str) -> None:
        bench = filled.bench
        self.copy(bench, tenant)
        self.copy(bench, tenant)
        for other, items in filled.keys.items():
            for item in items:
                expected = f"{other} {item}" if other == tenant else None
                assert bench.content(bench.target, other, item) == expected
        assert self.suspects(bench, tenant) == {}

    def test_a_copy_is_counted(self, filled: _Filled) -> None:
        bench = filled.bench
        sizes = {s.name: s.items for s in bench.source.inventory(TenantId("1"), exact=True)}
        assert sizes["docs"] == 4
        self.copy(bench, "1")
        assert bench.target.holds(TenantId("1"))
        assert not bench.target.holds(TenantId("12"))

    def test_a_skipped_family_is_not_copied(self, bench: Bench) -> None:
        bench.put(bench.source, "1", "answer", "again", "cache")
        self.copy(bench, "1")
        assert bench.content(bench.target, "1", "answer", "cache") is None
        assert self.suspects(bench, "1") == {}

    # -- comparison

    def test_every_mutation_is_found_and_mended(self, filled: _Filled) -> None:
        bench, tenant = filled.bench, TenantId("1")
        self.copy(bench, "1")
        bench.put(bench.target, "1", "0.txt", "other content")
        bench.drop(bench.target, "1", "1.txt")
        bench.put(bench.target, "1", "extra.txt", "only here")
        expected = {
            bench.key("1", "0.txt"): DifferenceKind.DIFFERENT,
            bench.key("1", "1.txt"): DifferenceKind.MISSING,
            bench.key("1", "extra.txt"): DifferenceKind.EXTRA,
        }
        suspects = self.suspects(bench, "1")
        assert {key for keys in suspects.values() for key in keys} == set(expected)
        differences = bench.source.compare_keys(bench.target, tenant, suspects)
        assert {d.key: d.kind for d in differences} == expected
        assert bench.source.repair(bench.target, self.feed("1"), suspects) == 3
        assert bench.source.compare_keys(bench.target, tenant, suspects) == []
        assert self.suspects(bench, "1") == {}
        assert bench.content(bench.target, "1", "extra.txt") is None

    def test_an_exchange_of_two_items_is_found(self, filled: _Filled) -> None:
        bench = filled.bench
        self.copy(bench, "1")
        bench.put(bench.target, "1", "0.txt", "1 1.txt")
        bench.put(bench.target, "1", "1.txt", "1 0.txt")
        assert len(next(iter(self.suspects(bench, "1").values()))) == 2

    def test_what_is_absent_on_both_sides_is_equal(self, bench: Bench) -> None:
        keys = {"docs": frozenset([bench.key("1", "never.txt")])}
        assert bench.source.compare_keys(bench.target, TenantId("1"), keys) == []
        assert bench.source.repair(bench.target, self.feed("1"), keys) == 0

    # -- carrying over

    def test_repair_carries_state_in_any_order_and_any_number_of_times(self, filled: _Filled) -> None:
        bench = filled.bench
        self.copy(bench, "1")
        bench.put(bench.source, "1", "0.txt", "second")
        bench.put(bench.source, "1", "0.txt", "third")
        bench.drop(bench.source, "1", "1.txt")
        bench.put(bench.source, "1", "new.txt", "new")
        keys = {"docs": frozenset(bench.key("1", item) for item in ("0.txt", "1.txt", "new.txt"))}
        for _ in range(2):
            bench.source.repair(bench.target, self.feed("1"), keys)
        assert bench.content(bench.target, "1", "0.txt") == "third"
        assert bench.content(bench.target, "1", "1.txt") is None
        assert bench.content(bench.target, "1", "new.txt") == "new"
        assert self.suspects(bench, "1") == {}

    def test_what_is_stale_in_a_skipped_family_is_deleted(self, bench: Bench) -> None:
        for side in (bench.source, bench.target):
            bench.put(side, "1", "answer", "old", "cache")
        bench.source.repair(
            bench.target, self.feed("1"), {"cache": frozenset([bench.key("1", "answer", "cache")])}
        )
        assert bench.content(bench.target, "1", "answer", "cache") is None
        assert bench.content(bench.source, "1", "answer", "cache") == "old"

    def test_an_older_driver_is_refused(self, filled: _Filled) -> None:
        bench = filled.bench
        keys = {"docs": frozenset([bench.key("1", "0.txt")])}
        bench.source.repair(bench.target, self.feed("1", token=5), keys)
        bench.put(bench.source, "1", "0.txt", "newer")
        with pytest.raises(Fenced):
            bench.source.repair(bench.target, self.feed("1", token=4), keys)
        assert bench.content(bench.target, "1", "0.txt") == "1 0.txt"
        bench.source.repair(bench.target, self.feed("1", token=5), keys)
        assert bench.content(bench.target, "1", "0.txt") == "newer"

    # -- whose it is

    def test_a_key_belongs_to_its_tenant_only(self, bench: Bench) -> None:
        for tenant in TENANTS:
            for other in TENANTS:
                found = bench.source.set_of(TenantId(other), bench.key(tenant, "x"))
                assert found == ("docs" if other == tenant else None)
        assert bench.source.set_of(TenantId("1"), b"\xff\x00 nothing of ours") is None

    def test_a_target_that_is_not_empty_is_refused(self, filled: _Filled) -> None:
        bench = filled.bench
        assert refusals(bench.source.preflight(bench.target, TenantId("1"))) == []
        bench.put(bench.target, "1", "foreign.txt", "somebody was here")
        found = refusals(bench.source.preflight(bench.target, TenantId("1")))
        assert [f.code.partition(".")[2] for f in found] == ["target-occupied"]

    @pytest.mark.parametrize("tenant", TENANTS)
    def test_removing_takes_this_tenant_and_nobody_else(self, filled: _Filled, tenant: str) -> None:
        bench = filled.bench
        bench.put(bench.source, tenant, "answer", "cached", "cache")
        removed = bench.source.remove(self.feed(tenant), _nothing)
        assert removed["docs"] == 4
        for other, items in filled.keys.items():
            for item in items:
                expected = None if other == tenant else f"{other} {item}"
                assert bench.content(bench.source, other, item) == expected
        assert bench.content(bench.source, tenant, "answer", "cache") is None
        assert not bench.source.holds(TenantId(tenant))
        bench.source.remove(self.feed(tenant), _nothing)

    # -- life of the store

    def test_an_incarnation_stays_while_nothing_happens(self, bench: Bench) -> None:
        assert bench.source.incarnation() == bench.source.incarnation()

    def test_it_says_that_it_can_be_reached(self, bench: Bench) -> None:
        assert refusals(bench.source.probe()) == []
