"""What every store that is backed up and restored to promises, as tests: for ours, and for authors of others.

Subclass `BackingContract` in a module that pytest collects, and say in `bench` how to get a `BackingBench` of your
store. Every test takes its own.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import pytest

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Backs, BaseReading, Preview, Previews, SetDiff, Writing
from tenant_lifecycle.stores.base import Store

#: Tenants whose ids are traps, each beside one that it must not be taken for.
TENANTS = ("acme", "acme2", "a*b?", "it's; DROP --%s", "zürich 租户", "{tenant}", "[a]/b", "12345", "1234")
KEY = b"k" * 32
#: Items of each tenant, and contents that are easily bent on the way.
CONTENTS = (
    "plain",
    "",
    "tab\tline\nreturn\r",
    "back\\slash \\N \\.",
    "quote'\"",
    "ünïcode 租户 🙂",
    "x" * 20_000,
)
#: How often a promotion is killed.
KILLS = 5


class Backed(Store, Backs, Previews, Protocol):
    """A store with both abilities."""


class BackingBench(Protocol):
    """One system, seen as the store and as the tenants' application sees it."""

    store: Backed
    #: Whether a promotion is one transaction: killed, it has happened or not. Else telling it again completes it.
    atomic: bool

    def put(self, tenant: str, item: str, content: str) -> None:
        """Write an item as the application does."""

    def drop(self, tenant: str, item: str) -> None:
        """Delete it."""

    def content(self, tenant: str, item: str) -> str | None:
        """What was put; None if it is not there."""

    def promoting(self, preview: str, writing: Writing) -> Sequence[str]:
        """The command line of another process that promotes all sets of that preview, and then exits with 0."""

    def many(self, tenant: str, count: int) -> None:
        """Write items ``m0`` .. with some content, quickly."""


def nothing() -> None:
    """A check that lets the work go on."""


class Stop(Exception):
    """What a check raises when it is told to."""


Base = tuple[BaseReading, dict[str, list[Item]]]


def read(store: Backs, tenant: str) -> Base:
    """A whole base in memory."""
    with store.read_base(TenantId(tenant), nothing) as reading:
        return reading, {name: list(reading.items(name)) for name in reading.shapes}


def proofs(items: Mapping[str, Iterable[Item]]) -> dict[str, Fingerprint]:
    """Fingerprints by set."""
    return {name: fingerprint(KEY, some) for name, some in items.items()}


def restored(store: Previews, tenant: str, base: Base, name: str = "contract") -> Preview:
    """A preview with everything of the base in it."""
    reading, items = base
    preview = store.open_preview(TenantId(tenant), name, reading.shapes, reading.facts)
    for set_name in reading.shapes:
        assert preview.load(set_name, iter(items[set_name]), nothing) == len(items[set_name])
    return preview


def total(found: Iterable[SetDiff]) -> tuple[int, int, int]:
    """Restored only, live only, changed: of all sets."""
    sums = [(one.only_restored, one.only_live, one.changed) for one in found]
    return sum(a for a, _, _ in sums), sum(b for _, b, _ in sums), sum(c for _, _, c in sums)


def writing(tenant: str, token: int = 1) -> Writing:
    return Writing("contract", TenantId(tenant), token)


class BackingContract:
    """The tests. Subclass it and give ``bench``."""

    @pytest.fixture
    def bench(self) -> Iterator[BackingBench]:
        raise NotImplementedError

    @pytest.fixture
    def full(self, bench: BackingBench) -> BackingBench:
        """Every tenant with every content."""
        for tenant in TENANTS:
            for number, content in enumerate(CONTENTS):
                bench.put(tenant, f"i{number}", content)
        return bench

    def test_a_base_has_everything_of_one_tenant_and_nothing_of_others(self, full: BackingBench) -> None:
        seen: dict[str, frozenset[tuple[str, bytes]]] = {}
        for tenant in TENANTS:
            _, items = read(full.store, tenant)
            keys = [(one.set, one.key) for some in items.values() for one in some]
            assert len(keys) == len(set(keys)) >= len(CONTENTS)
            assert all(one.set == name for name, some in items.items() for one in some)
            assert all(seen[other].isdisjoint(keys) for other in seen)
            seen[tenant] = frozenset(keys)
            assert proofs(read(full.store, tenant)[1]) == proofs(items)

    def test_a_preview_is_read_back_as_what_was_loaded(self, full: BackingBench) -> None:
        for tenant in TENANTS:
            base = read(full.store, tenant)
            preview = restored(full.store, tenant, base)
            assert preview.fingerprints(KEY) == proofs(base[1])
            assert total(preview.diff(5, nothing)) == (0, 0, 0)
            preview.discard()

    def test_loading_again_replaces_what_was_loaded(self, full: BackingBench) -> None:
        reading, items = base = read(full.store, "acme")
        preview = restored(full.store, "acme", base)
        largest = max(items, key=lambda name: len(items[name]))
        rest = items[largest][1:]
        assert preview.load(largest, iter(rest), nothing) == len(rest)
        assert preview.fingerprints(KEY)[largest] == fingerprint(KEY, rest)

        def broken() -> Iterator[Item]:
            yield from rest[:2]
            raise Stop

        with pytest.raises(Stop):
            preview.load(largest, broken(), nothing)
        preview.load(largest, iter(items[largest]), nothing)
        assert preview.fingerprints(KEY) == proofs(items) and list(reading.shapes) == list(items)

    def test_a_diff_counts_what_a_restore_would_do(self, full: BackingBench) -> None:
        preview = restored(full.store, "acme", read(full.store, "acme"))
        self._change(full)
        found = preview.diff(2, nothing)
        assert total(found) == (3, 2, 1)
        assert any(one.examples for one in found) and all(len(one.examples) <= 2 for one in found)
        assert total(preview.diff(0, nothing)) == (3, 2, 1)  # it changed nothing

    def test_promoting_makes_the_live_tenant_what_was_restored(self, full: BackingBench) -> None:
        base = read(full.store, "acme")
        others = {tenant: proofs(read(full.store, tenant)[1]) for tenant in TENANTS if tenant != "acme"}
        preview = restored(full.store, "acme", base)
        self._change(full)
        changed = preview.promote(writing("acme"), None, nothing)
        assert sum(changed.values()) == 6
        for number, content in enumerate(CONTENTS):
            assert full.content("acme", f"i{number}") == content
        assert full.content("acme", "new1") is None
        assert proofs(read(full.store, "acme")[1]) == proofs(base[1])
        assert total(preview.diff(1, nothing)) == (0, 0, 0)
        assert not any(preview.promote(writing("acme"), None, nothing).values())
        assert {tenant: proofs(read(full.store, tenant)[1]) for tenant in others} == others

    def test_a_tenant_whose_everything_is_gone_comes_back(self, full: BackingBench) -> None:
        for tenant in TENANTS:
            base = read(full.store, tenant)
            preview = restored(full.store, tenant, base)
            for number in range(len(CONTENTS)):
                full.drop(tenant, f"i{number}")
            assert total(preview.diff(0, nothing))[0] >= len(CONTENTS)
            preview.promote(writing(tenant), None, nothing)
            assert proofs(read(full.store, tenant)[1]) == proofs(base[1])
            preview.discard()

    def test_previews_are_found_again_and_go_when_they_are_discarded(self, full: BackingBench) -> None:
        reading, items = base = read(full.store, "acme")
        preview = restored(full.store, "acme", base, "one")
        restored(full.store, "acme2", read(full.store, "acme2"), "two")
        assert sorted(full.store.previews()) == ["one", "two"]
        again = full.store.open_preview(TenantId("acme"), "one", reading.shapes, reading.facts)
        assert again.fingerprints(KEY) == proofs(items)
        assert proofs(read(full.store, "acme")[1]) == proofs(items)  # a preview is not the tenant's data
        preview.discard()
        preview.discard()
        assert full.store.previews() == ["two"]
        assert full.content("acme", "i0") == CONTENTS[0]

    def test_a_preview_is_one_tenants(self, full: BackingBench) -> None:
        reading, _ = base = read(full.store, "acme")
        preview = restored(full.store, "acme", base)
        with pytest.raises(LifecycleError):
            full.store.open_preview(TenantId("acme2"), "contract", reading.shapes, reading.facts)
        with pytest.raises(LifecycleError):
            preview.promote(writing("acme2"), None, nothing)
        assert full.content("acme2", "i0") == CONTENTS[0]

    @pytest.mark.parametrize("name", ["", "x" * 41, "A", "a-b", "a/../b", "*", 'x"; DROP'])
    def test_a_name_that_is_none_is_refused(self, full: BackingBench, name: str) -> None:
        reading, _ = read(full.store, "acme")
        with pytest.raises(LifecycleError):
            full.store.open_preview(TenantId("acme"), name, reading.shapes, reading.facts)
        assert full.store.previews() == []

    def test_a_base_of_here_fits_here(self, full: BackingBench) -> None:
        reading, _ = read(full.store, "acme")
        assert refusals(full.store.check_restore(TenantId("acme"), reading.shapes, reading.facts)) == []

    def test_a_check_stops_a_promotion(self, full: BackingBench) -> None:
        preview = restored(full.store, "acme", read(full.store, "acme"))
        self._change(full)

        def stop() -> None:
            raise Stop

        with pytest.raises(Stop):
            preview.promote(writing("acme"), None, stop)
        if full.atomic:
            assert total(preview.diff(0, nothing)) == (3, 2, 1)
        preview.promote(writing("acme"), None, nothing)
        assert total(preview.diff(0, nothing)) == (0, 0, 0)

    def test_killed_anywhere_a_promotion_can_be_told_again(self, bench: BackingBench) -> None:
        bench.many("acme", 2000)
        bench.put("acme2", "i0", "theirs")
        base, others = read(bench.store, "acme"), proofs(read(bench.store, "acme2")[1])
        preview = restored(bench.store, "acme", base)
        began = time.monotonic()
        self._promoted_elsewhere(bench, 1, kill_after_s=None)
        whole_s = time.monotonic() - began
        chance = random.Random(5)
        for token in range(2, 2 + 2 * KILLS, 2):
            for number in range(2000):
                if number % 40 == 0:
                    bench.drop("acme", f"m{number}")
            before = total(preview.diff(0, nothing))
            self._promoted_elsewhere(bench, token, kill_after_s=whole_s * chance.uniform(0.4, 1.0))
            time.sleep(0.2)  # what it had sent may be committed by the server a moment later
            assert total(preview.diff(0, nothing)) in (before, (0, 0, 0)) or not bench.atomic
            preview.promote(writing("acme", token + 1), None, nothing)
            assert total(preview.diff(0, nothing)) == (0, 0, 0)
            assert proofs(read(bench.store, "acme")[1]) == proofs(base[1])
            assert proofs(read(bench.store, "acme2")[1]) == others

    def _promoted_elsewhere(self, bench: BackingBench, token: int, kill_after_s: float | None) -> None:
        process = subprocess.Popen(bench.promoting("contract", writing("acme", token)))
        try:
            assert process.wait(timeout=kill_after_s or 120) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _change(self, bench: BackingBench) -> None:
        """Three items fewer, two more, one other."""
        for gone in ("i0", "i1", "i2"):
            bench.drop("acme", gone)
        for new in ("new1", "new2"):
            bench.put("acme", new, "new")
        bench.put("acme", "i3", "other")
