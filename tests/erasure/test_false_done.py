"""Ways in which other projects called an erasure done that was not; each named after its lesson.

The rows that are about requests, holds and backups have their tests beside those.
"""

from __future__ import annotations

import gzip
import json

import pytest
from memory_bench import MemoryErasingBench, SaysDeleted, SeesNothing, SkipsABatch

from tenant_lifecycle.model.erasure.identifiers import identifiers_of
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.erasure.outcome import Evidence, Level, Outcome, Overall, Verdict, judge, overall
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.looking import SystemLook, Wanted, look
from tenant_lifecycle.operations.erase.systems import System
from tenant_lifecycle.stores.erasing import Place
from tenant_lifecycle.testing.erasing_contract import CONTROL, erase, fill, nothing
from tenant_lifecycle.testing.memory import MemoryStore
from tenant_lifecycle.testing.memory_erasing import ErasingMemoryStore, SearchingMemoryStore

WANTED = Wanted(
    identifiers_of(TenantId("acme"), ["acme.example"], neighbours=["acme2"]),
    identifiers_of(TenantId(CONTROL)),
)


def filled(eraser: type[ErasingMemoryStore] = ErasingMemoryStore) -> MemoryErasingBench:
    bench = MemoryErasingBench(eraser=eraser)
    fill(bench)
    return bench


@pytest.fixture
def erased() -> MemoryErasingBench:
    bench = filled()
    erase(bench, "acme")
    return bench


def seen(verifier: SearchingMemoryStore, batches: list[Batch] | None = None) -> SystemLook:
    return look(verifier, WANTED, batches or [], nothing)


def outcome(*looks: SystemLook) -> Outcome:
    evidence = Evidence("blue/memory", Level.EXHAUSTIVE, looks=tuple(one.look for one in looks))
    return judge(evidence, 0.0)


def test_all_of_nothing_is_not_everything() -> None:
    """newtheatre/stage-door#57: ``[].every()`` is true, so no system was told and all was complete."""
    with pytest.raises(ValueError, match="no system at all"):
        overall([], [])
    assert overall([], ["blue/memory"]) is Overall.INCOMPLETE


def test_a_system_without_a_single_place_is_not_clean() -> None:
    """newtheatre/stage-door#57, one level below: an empty listing."""

    class ListsNothing(SearchingMemoryStore):
        def places(self) -> list[Place]:
            return []

    bench = filled()
    empty = seen(ListsNothing(bench.server, "blue", "memory", bench.verifier._key_map))
    assert outcome(empty, empty).verdict is Verdict.INCONCLUSIVE


def test_a_filter_that_hides_rows_from_eraser_and_verifier_alike_is_inconclusive(
    erased: MemoryErasingBench,
) -> None:
    """granit-fx/granit-dotnet#3058: the tenant filter hid the rows from the eraser, and it did nothing, silently."""
    blind = seen(SeesNothing(erased.server, "blue", "memory", erased.verifier._key_map))
    assert outcome(blind, blind).verdict is Verdict.INCONCLUSIVE


def test_children_in_places_that_no_rule_mentions_are_found(erased: MemoryErasingBench) -> None:
    """NikolayS/samograph#234: leaks found one at a time; everything there is has to be swept."""
    for place in ("events", "outbox", "history"):
        erased.server.attic[place] = {"1": b'{"tenant": "acme"}'}
    found = seen(erased.verifier)
    assert {hit.place for hit in found.hits} == {"events", "outbox", "history"}
    assert all(hit.proposal for hit in found.hits)
    assert outcome(found, found).verdict is Verdict.RESIDUAL


def test_a_new_place_is_searched_without_being_declared(erased: MemoryErasingBench) -> None:
    """tale-project/tale#3120: a rewrite added six tables, and the receipt still said done."""
    clean = seen(erased.verifier)
    assert clean.look.clean
    erased.server.attic["added by a migration"] = {"1": b"acme"}
    assert not seen(erased.verifier).look.clean


def test_a_snapshot_of_a_row_inside_another_row_is_found(erased: MemoryErasingBench) -> None:
    """margince/margince#2702: evidence snapshots were outside of the erasure."""
    snapshot = json.dumps({"before": json.dumps({"owner": "acme"})})
    erased.server.attic["evidence"] = {"1": gzip.compress(snapshot.encode())}
    assert outcome(*[seen(erased.verifier)] * 2).verdict is Verdict.RESIDUAL


@pytest.mark.parametrize("kept", ["cache:acme:answer", "namespace/acme", "audit: erased acme"])
def test_caches_namespaces_and_the_record_of_the_erasure_itself_are_found(
    erased: MemoryErasingBench, kept: str
) -> None:
    """major7apps/pensyve#283: the cache, rows of the namespace and the audit record were forgotten."""
    erased.server.attic["other"] = {kept: b""}
    assert seen(erased.verifier).look.hits == 1


def test_what_cannot_be_read_now_is_not_clean(erased: MemoryErasingBench) -> None:
    """weaviate/weaviate#8892: the deletion missed tenants that were inactive at the time."""
    erased.server.attic["offloaded"] = {"1": b"acme"}
    erased.verifier.may_read = frozenset({"items", "exports"})
    closed = seen(erased.verifier)
    assert "offloaded" in closed.look.why
    assert outcome(closed, closed).verdict is Verdict.INCONCLUSIVE


def test_a_deletion_that_answers_well_and_does_nothing_is_residue() -> None:
    """semantica-agi/semantica#1027: ``purge_node()`` returned true and copies stayed."""
    bench = filled(SaysDeleted)
    found = seen(bench.verifier, erase(bench, "acme"))
    assert found.look.remaining == 5
    assert outcome(found, found).verdict is Verdict.RESIDUAL


def test_an_item_that_the_manifest_forgot_is_found_by_the_search() -> None:
    """semantica-agi/semantica#1027: what is in no list is in no check of that list."""
    bench = filled(SkipsABatch)
    found = seen(bench.verifier, erase(bench, "acme"))
    assert (found.look.remaining, found.look.hits) == (0, 1)


def test_a_store_that_cannot_delete_needs_a_person() -> None:
    """semantica-agi/semantica#1027: three backends cannot delete at all; say so."""
    bench = filled()
    plain = MemoryStore(bench.server, "blue", "memory", bench.verifier._key_map)
    system = System("blue/memory", "memory", plain, bench.verifier)
    assert "can erase" in system.unsupported
    evidence = Evidence("blue/memory", Level.LOGICAL, unsupported=system.unsupported)
    result = judge(evidence, 0.0)
    assert result.verdict is Verdict.NEEDS_HUMAN
    assert overall([result], ["blue/memory"]) is Overall.INCOMPLETE


def test_what_a_synchronisation_brings_back_is_found_by_the_second_look(erased: MemoryErasingBench) -> None:
    """Tencent/WeKnora#2684: a connector's sync brought deleted knowledge back."""
    first = seen(erased.verifier)
    erased.put("acme", "0.txt", "again")
    second = seen(erased.verifier)
    assert first.look.clean
    assert outcome(first, second).verdict is Verdict.RESIDUAL


def test_one_clean_look_at_an_eventually_consistent_store_is_not_enough(erased: MemoryErasingBench) -> None:
    """pinecone-io/pinecone-python-client#470: there is no reliable signal of freshness."""
    assert outcome(seen(erased.verifier)).verdict is Verdict.UNVERIFIED
    assert outcome(seen(erased.verifier), seen(erased.verifier)).verdict is Verdict.VERIFIED


def test_every_namespace_and_prefix_is_searched_by_every_name(erased: MemoryErasingBench) -> None:
    """ConductionNL/openregister#3759, intrafind/ihub-apps#2404: scan everything afterwards, aliases too."""
    erased.server.attic["exports"]["https%3A%2F%2FACME.example%2F"] = b""
    assert {hit.match.identifier for hit in seen(erased.verifier).hits} == {"id", "alias/1"}
