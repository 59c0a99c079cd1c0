"""What every store that erases, and every one that searches, promises, as tests: for ours, and for authors of others.

Subclass `ErasingContract` in a module that pytest collects, and say in `bench` how to get an `ErasingBench` of your
store. Every test takes its own. A store that cannot refuse writes or be given a marker leaves out `Closes` or
`Plants`, and those tests are skipped; nothing else can be left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol

import pytest

from tenant_lifecycle.errors import Fenced, LifecycleError, StoreError
from tenant_lifecycle.model.erasure.identifiers import Identifiers, found, identifiers_of
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.erasure.recognising import Recogniser
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.erasing import Closes, Erases, Erasing, Looked, Plants, Searches

#: Tenants whose ids are traps, each beside one that it must not be taken for.
TENANTS = ("acme", "acme2", "a*b?", "it's; --%s", "zürich 租户", "{tenant}", "12345", "1234")
CONTROL = "control-tenant"
#: Items of each.
ITEMS = 5


class Eraser(Store, Erases, Protocol):
    """A store opened as the eraser."""


class Verifier(Store, Searches, Protocol):
    """The same system opened with the verifier's credentials."""


class ErasingBench(Protocol):
    """One system, seen by the eraser and by the verifier, and ways past both to what is behind."""

    eraser: Eraser
    verifier: Verifier
    #: Ways in which something of a tenant stays behind where no rule looks for it: a name for people, and what
    #: writes a text there, as raw bytes. At least one of them lies in a place that no rule mentions.
    traps: Mapping[str, Callable[[bytes], None]]

    def put(self, tenant: str, item: str, content: str) -> None:
        """Write an item as the tenant's application does; refused if its writes are refused."""

    def content(self, tenant: str, item: str) -> str | None:
        """What was put; None if it is not there."""

    def blinded(self) -> Verifier:
        """The system opened with credentials that may not read all of it."""

    def replaced_eraser(self) -> Eraser:
        """The system opened anew as the eraser: another process, after the first one died."""


class Killed(Exception):
    """The process died."""


def nothing() -> None:
    """A check that lets the work go on."""


class Countdown:
    """A check that lets so many calls pass, then raises at each."""

    def __init__(self, passes: int) -> None:
        self.left = passes
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.left <= 0:
            raise Killed
        self.left -= 1


def erasing(tenant: str, token: int = 1) -> Erasing:
    return Erasing("tl_erase_contract", TenantId(tenant), token)


def manifest(store: Erases, tenant: str) -> list[Batch]:
    return list(store.doomed(TenantId(tenant), nothing))


def erase(bench: ErasingBench, tenant: str) -> list[Batch]:
    """All of it, as the operation does; returns the manifest."""
    batches = manifest(bench.eraser, tenant)
    for batch in batches:
        bench.eraser.erase(erasing(tenant), batch, nothing)
    bench.eraser.settle(erasing(tenant), sorted({batch.set for batch in batches}), nothing)
    return batches


def recogniser(tenant: str, *canaries: str) -> Recogniser:
    others = [other for other in TENANTS if other != tenant]
    mine: Identifiers = identifiers_of(TenantId(tenant), canaries=canaries, neighbours=[*others, CONTROL])
    return found(mine, identifiers_of(TenantId(CONTROL)))


def look(verifier: Searches, tenant: str, *canaries: str) -> list[Looked]:
    """One search of every place."""
    recognises = recogniser(tenant, *canaries)
    return [verifier.search(place, recognises.fresh(), nothing) for place in verifier.places()]


def hits(looked: list[Looked]) -> int:
    return sum(one.hit_count for one in looked)


def is_clean(verifier: Searches, tenant: str, batches: list[Batch]) -> bool:
    """What the operation takes for clean: all read, the control found, nothing else."""
    looked = look(verifier, tenant)
    remaining = [verifier.remaining(TenantId(tenant), batch, nothing) for batch in batches]
    return (
        not refusals(verifier.verifier_findings())
        and not any(one.unread for one in looked)
        and any(one.control_found for one in looked)
        and not hits(looked)
        and not any(remaining)
    )


class ErasingContract:
    """The promises; one test each."""

    @pytest.fixture
    def bench(self) -> ErasingBench:
        raise NotImplementedError("say how to make a bench of your store")

    @pytest.fixture
    def filled(self, bench: ErasingBench) -> ErasingBench:
        """A bench where every tenant, and the control, has a few items."""
        fill(bench)
        return bench

    # -- the manifest

    @pytest.mark.parametrize("tenant", TENANTS)
    def test_the_manifest_names_every_item_of_the_tenant_once_and_changes_nothing(
        self, filled: ErasingBench, tenant: str
    ) -> None:
        first, second = manifest(filled.eraser, tenant), manifest(filled.eraser, tenant)
        keys = [key for batch in first for key in batch.keys]
        assert len(keys) == len(set(keys)) >= ITEMS
        assert [batch.digest() for batch in first] == [batch.digest() for batch in second]
        assert everything(filled) == full()

    def test_a_tenant_that_has_nothing_has_an_empty_manifest(self, filled: ErasingBench) -> None:
        assert manifest(filled.eraser, "nobody-of-that-name") == []

    def test_manifests_of_neighbours_share_no_item(self, filled: ErasingBench) -> None:
        seen: set[tuple[str, bytes]] = set()
        for tenant in TENANTS:
            keys = {(batch.set, key) for batch in manifest(filled.eraser, tenant) for key in batch.keys}
            assert not keys & seen
            seen |= keys

    # -- erasing

    @pytest.mark.parametrize("tenant", TENANTS)
    def test_erasing_takes_this_tenant_and_nobody_else(self, filled: ErasingBench, tenant: str) -> None:
        batches = erase(filled, tenant)
        assert everything(filled) == full(without=tenant)
        assert manifest(filled.eraser, tenant) == []
        assert is_clean(filled.verifier, tenant, batches)

    def test_what_was_deleted_is_counted_item_by_item(self, filled: ErasingBench) -> None:
        for batch in manifest(filled.eraser, "acme"):
            result = filled.eraser.erase(erasing("acme"), batch, nothing)
            assert (result.deleted, result.gone, result.refused) == (len(batch.keys), 0, ())

    def test_a_second_run_is_a_no_op(self, filled: ErasingBench) -> None:
        batches = erase(filled, "acme")
        for batch in batches:
            result = filled.eraser.erase(erasing("acme"), batch, nothing)
            assert (result.deleted, result.gone) == (0, len(batch.keys))
        filled.eraser.settle(erasing("acme"), sorted({batch.set for batch in batches}), nothing)
        assert everything(filled) == full(without="acme")

    def test_killed_at_every_batch_and_resumed_it_comes_to_the_same(self, filled: ErasingBench) -> None:
        batches = manifest(filled.eraser, "acme")
        for number, batch in enumerate(batches):
            with pytest.raises(Killed):
                filled.eraser.erase(erasing("acme"), batch, Countdown(0))
            again = filled.replaced_eraser()
            for earlier in batches[: number + 1]:
                again.erase(erasing("acme"), earlier, nothing)
        again.settle(erasing("acme"), sorted({batch.set for batch in batches}), nothing)
        assert everything(filled) == full(without="acme")
        assert is_clean(filled.verifier, "acme", batches)

    def test_nothing_is_destroyed_before_the_check_was_asked(self, filled: ErasingBench) -> None:
        """The check is where a hold stops an erasure: once placed, it stops the next request that destroys."""
        for batch in manifest(filled.eraser, "acme"):
            with pytest.raises(Killed):
                filled.eraser.erase(erasing("acme"), batch, Countdown(0))
            assert filled.verifier.remaining(TenantId("acme"), batch, nothing) == frozenset(batch.keys)
        assert everything(filled) == full()

    def test_an_item_that_is_named_and_is_another_tenants_stays(self, filled: ErasingBench) -> None:
        for batch in manifest(filled.eraser, "acme2"):
            try:
                result = filled.eraser.erase(erasing("acme"), batch, nothing)
            except LifecycleError:
                continue
            assert result.deleted == 0
        assert everything(filled) == full()

    def test_an_older_driver_is_refused_or_does_no_harm(self, filled: ErasingBench) -> None:
        batches = manifest(filled.eraser, "acme")
        filled.eraser.erase(erasing("acme", token=5), batches[0], nothing)
        with contextlib.suppress(Fenced):
            filled.eraser.erase(erasing("acme", token=4), batches[0], nothing)
        assert set(everything(filled)) >= set(full(without="acme"))

    # -- searching

    def test_the_search_finds_the_tenant_before_and_the_control_always(self, filled: ErasingBench) -> None:
        before = look(filled.verifier, "acme")
        assert hits(before) > 0
        assert any(one.control_found for one in before)
        erase(filled, "acme")
        after = look(filled.verifier, "acme")
        assert hits(after) == 0
        assert any(one.control_found for one in after)

    def test_what_remains_of_a_manifest_is_told_item_by_item(self, filled: ErasingBench) -> None:
        batches = manifest(filled.eraser, "acme")
        for batch in batches:
            assert filled.verifier.remaining(TenantId("acme"), batch, nothing) == frozenset(batch.keys)
            filled.eraser.erase(erasing("acme"), batch, nothing)
            assert filled.verifier.remaining(TenantId("acme"), batch, nothing) == frozenset()

    def test_every_planted_residue_is_found(self, filled: ErasingBench) -> None:
        batches = erase(filled, "acme")
        for name, plant in filled.traps.items():
            before = hits(look(filled.verifier, "acme"))
            plant(b"report for acme, 3 pages")
            assert hits(look(filled.verifier, "acme")) > before, name
        assert not is_clean(filled.verifier, "acme", batches)

    def test_residue_that_no_rule_mentions_comes_with_a_proposal(self, filled: ErasingBench) -> None:
        erase(filled, "acme")
        for plant in filled.traps.values():
            plant(b"report for acme, 3 pages")
        assert any(hit.proposal for one in look(filled.verifier, "acme") for hit in one.hits)

    def test_a_neighbours_data_is_no_residue(self, filled: ErasingBench) -> None:
        erase(filled, "acme")
        for plant in filled.traps.values():
            plant(b"reports for acme2 and zacme, 3 pages")
        assert hits(look(filled.verifier, "acme")) == 0

    def test_without_the_control_nothing_is_clean(self, bench: ErasingBench) -> None:
        fill(bench, control=False)
        batches = erase(bench, "acme")
        assert not is_clean(bench.verifier, "acme", batches)

    def test_credentials_that_see_too_little_never_make_it_clean(self, filled: ErasingBench) -> None:
        batches = erase(filled, "acme")
        with contextlib.suppress(StoreError):
            assert not is_clean(filled.blinded(), "acme", batches)

    def test_a_search_changes_nothing(self, filled: ErasingBench) -> None:
        look(filled.verifier, "acme")
        assert everything(filled) == full()
        filled.verifier.verifier_findings()
        assert everything(filled) == full()

    def test_a_search_can_be_stopped(self, filled: ErasingBench) -> None:
        with pytest.raises(Killed):
            for place in filled.verifier.places():
                filled.verifier.search(place, recogniser("acme"), Countdown(0))

    # -- writes refused, markers planted

    def test_a_late_write_is_refused_until_it_is_opened_again(self, filled: ErasingBench) -> None:
        store = closing(filled.eraser)
        for _ in range(2):
            store.close_writes(erasing("acme"))
        assert store.closed(TenantId("acme"))
        assert not store.closed(TenantId("acme2"))
        with pytest.raises(Exception):  # noqa: B017  the application's own error, whichever it is
            filled.put("acme", "late", "too late")
        assert filled.content("acme", "late") is None
        filled.put("acme2", "late", "in time")
        store.reopen(erasing("acme"))
        filled.put("acme", "late", "again")
        assert filled.content("acme", "late") == "again"

    def test_what_closes_is_forgotten_at_the_end(self, filled: ErasingBench) -> None:
        store = closing(filled.eraser)
        store.close_writes(erasing("acme"))
        batches = erase(filled, "acme")
        store.forget(erasing("acme"))
        store.forget(erasing("acme"))
        assert not store.closed(TenantId("acme"))
        assert is_clean(filled.verifier, "acme", batches)

    def test_a_closed_tenant_can_be_erased(self, filled: ErasingBench) -> None:
        closing(filled.eraser).close_writes(erasing("acme"))
        erase(filled, "acme")
        assert everything(filled) == full(without="acme")

    def test_a_canary_is_found_before_and_gone_after(self, filled: ErasingBench) -> None:
        store, marker = planting(filled.eraser), "tlc-7b1f9a40e5d24c55"
        for _ in range(2):
            planted = store.plant(erasing("acme"), marker)
        if not planted:
            pytest.skip("no family of this store can take a marker")
        assert _canaries(look(filled.verifier, "acme", marker)) > 0
        erase(filled, "acme")
        assert _canaries(look(filled.verifier, "acme", marker)) == 0


def fill(bench: ErasingBench, *, control: bool = True) -> None:
    for tenant in (*TENANTS, *((CONTROL,) if control else ())):
        for item in range(ITEMS):
            bench.put(tenant, f"{item}.txt", f"{tenant} {item}")


def full(without: str = "") -> dict[tuple[str, str], str]:
    """What a filled bench holds."""
    return {
        (tenant, f"{item}.txt"): f"{tenant} {item}"
        for tenant in (*TENANTS, CONTROL)
        if tenant != without
        for item in range(ITEMS)
    }


def everything(bench: ErasingBench) -> dict[tuple[str, str], str]:
    """What the bench holds now."""
    there = {key: bench.content(*key) for key in full()}
    return {key: content for key, content in there.items() if content is not None}


def closing(store: Store) -> Closes:
    """The store as one that refuses writes; the test is skipped if it is none."""
    if not isinstance(store, Closes):
        pytest.skip(f"{store.kind} cannot refuse one tenant's writes")
    return store


def planting(store: Store) -> Plants:
    """The store as one that can be given a marker; the test is skipped if it is none."""
    if not isinstance(store, Plants):
        pytest.skip(f"{store.kind} cannot be given a marker")
    return store


def _canaries(looked: list[Looked]) -> int:
    return sum(hit.match.identifier.startswith("canary") for one in looked for hit in one.hits)
