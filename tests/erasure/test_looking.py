"""A look is clean only if it could have been otherwise."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import pytest
from memory_bench import MemoryErasingBench, SeesNothing

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.erasure.identifiers import identifiers_of
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.erasure.match import Match, Whose
from tenant_lifecycle.model.erasure.outcome import Evidence, Level, Verdict, judge
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.looking import SystemLook, Wanted, beyond, look
from tenant_lifecycle.stores.erasing import Found, Hit, Looked, Place, Searches
from tenant_lifecycle.testing.erasing_contract import (
    CONTROL,
    Countdown,
    Killed,
    erase,
    fill,
    manifest,
    nothing,
)
from tenant_lifecycle.testing.memory_erasing import SearchingMemoryStore


def wanted(tenant: str = "acme", control: str | None = CONTROL) -> Wanted:
    return Wanted(
        identifiers_of(TenantId(tenant), neighbours=["acme2"]),
        None if control is None else identifiers_of(TenantId(control)),
    )


@pytest.fixture
def bench() -> MemoryErasingBench:
    bench = MemoryErasingBench()
    fill(bench)
    return bench


def seen(verifier: Searches, batches: Iterable[Batch] = (), whom: Wanted | None = None) -> SystemLook:
    return look(verifier, whom or wanted(), batches, nothing, clock=lambda: 7.0)


def verdict(*looks: SystemLook) -> Verdict:
    return judge(
        Evidence("blue/memory", Level.EXHAUSTIVE, looks=tuple(one.look for one in looks)), 0.0
    ).verdict


def test_everything_is_found_before_and_nothing_after(bench: MemoryErasingBench) -> None:
    batches = manifest(bench.eraser, "acme")
    before = seen(bench.verifier, batches)
    assert before.look.remaining == 5
    assert not before.look.clean
    erase(bench, "acme")
    after = seen(bench.verifier, batches)
    assert after.look.clean
    assert (after.look.at, after.look.level) == (7.0, Level.PHYSICAL)
    assert after.bytes_per_s > 0
    assert verdict(after, after) is Verdict.VERIFIED


def test_an_undeclared_hit_comes_with_a_line_for_the_ownership_map(bench: MemoryErasingBench) -> None:
    erase(bench, "acme")
    bench.server.attic["exports"]["1"] = gzip.compress(b"report for acme")
    found = seen(bench.verifier)
    assert found.look.hits == 1
    assert found.proposals == ("1/*",)
    assert verdict(found, found) is Verdict.RESIDUAL


def test_without_a_control_nothing_is_conclusive(bench: MemoryErasingBench) -> None:
    erase(bench, "acme")
    blind = seen(bench.verifier, whom=wanted(control=None))
    assert not blind.look.control_found
    assert verdict(blind, blind) is Verdict.INCONCLUSIVE


def test_a_verifier_that_sees_nothing_is_inconclusive(bench: MemoryErasingBench) -> None:
    blind = seen(SeesNothing(bench.server, "blue", "memory", bench.verifier._key_map))
    assert verdict(blind, blind) is Verdict.INCONCLUSIVE


def test_credentials_that_see_too_little_are_inconclusive(bench: MemoryErasingBench) -> None:
    erase(bench, "acme")
    blind = seen(bench.blinded())
    assert not blind.look.complete
    assert "exports" in blind.look.why
    assert verdict(blind, blind) is Verdict.INCONCLUSIVE


def test_a_value_that_cannot_be_opened_is_inconclusive(bench: MemoryErasingBench) -> None:
    erase(bench, "acme")
    bench.server.attic["exports"]["1"] = gzip.compress(bytes(range(256)) * 64)[:-30]
    broken = seen(bench.verifier)
    assert "exports: gzip" in broken.look.why
    assert verdict(broken, broken) is Verdict.INCONCLUSIVE


def test_a_tenant_that_nothing_longer_names_is_inconclusive_until_there_is_an_alias() -> None:
    bench = MemoryErasingBench()
    bench.put(CONTROL, "a", "control")
    control = identifiers_of(TenantId(CONTROL))
    short = seen(bench.verifier, whom=Wanted(identifiers_of(TenantId("1")), control))
    assert "alias" in short.look.why
    assert verdict(short, short) is Verdict.INCONCLUSIVE
    long = seen(bench.verifier, whom=Wanted(identifiers_of(TenantId("1"), ["first corp"]), control))
    assert long.look.clean


class Failing(SearchingMemoryStore):
    """One place fails."""

    error: Exception

    def search(self, place: Place, found: Found, check) -> Looked:
        if place.name == "exports":
            raise self.error
        return super().search(place, found, check)


def failing(bench: MemoryErasingBench, error: Exception) -> Failing:
    store = Failing(bench.server, "blue", "memory", bench.verifier._key_map)
    store.error = error
    return store


def test_a_place_that_refuses_is_unread(bench: MemoryErasingBench) -> None:
    refused = seen(failing(bench, StoreRejected("permission denied", store="blue/memory")))
    assert refused.look.why == "exports: permission denied"
    assert not refused.look.complete


def test_a_place_that_does_not_answer_is_tried_again_by_who_asked(bench: MemoryErasingBench) -> None:
    with pytest.raises(StoreUnavailable):
        seen(failing(bench, StoreUnavailable("no answer", store="blue/memory")))


def test_a_look_can_be_stopped(bench: MemoryErasingBench) -> None:
    with pytest.raises(Killed):
        look(bench.verifier, wanted(), (), Countdown(3))


# -- what is counted


def hit(where: str, proposal: str = "", identifier: str = "id") -> Hit:
    return Hit("bucket", where, Match(Whose.TENANT, identifier, "plain"), proposal)


def test_an_item_that_remains_is_counted_once_however_often_it_names_the_tenant() -> None:
    found = [hit("docs/acme/a (version 1)"), hit("docs/acme/a (version 1)", identifier="alias/1")]
    assert beyond(found, [b'["docs/acme/a", "1"]']) == 0
    assert beyond(found, []) == 1


def test_what_nobody_knew_of_is_never_covered_by_what_remains() -> None:
    remaining = [b"docs/acme/a"]
    assert beyond([hit("docs/acme/a"), hit("docs/acme/b")], remaining) == 1
    assert beyond([hit("docs/acme/a", proposal="docs/*")], remaining) == 1
    assert beyond([hit("docs/acme/a (version 1)"), hit("docs/acme/a (version 2)")], remaining) == 1
    assert beyond([hit("x")], remaining) == 1


def test_a_verifier_with_the_erasers_credentials_proves_less(bench: MemoryErasingBench) -> None:
    erase(bench, "acme")
    shared = look(bench.verifier, wanted(), (), nothing, own_credentials=False)
    assert shared.look.clean
    assert shared.look.level is Level.LOGICAL
    assert verdict(shared, shared) is Verdict.UNVERIFIED
