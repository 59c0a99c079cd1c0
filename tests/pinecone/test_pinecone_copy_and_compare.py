"""What is copied is what was there, whatever it was; and every difference is found."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from pinecone_pair import FAMILIES, Pair, key, nothing, vector, wanted

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import DifferenceKind

METADATA: list[dict[str, Any]] = [
    {},
    {"text": "plain", "unicode": "zürich 租户 \N{PILE OF POO}", "empty": "", "quotes": "\"'\\\n\0"},
    {"int": 5, "float": 0.1, "big": 2**60, "negative": -0.5, "yes": True, "no": False},
    {"tags": ["a", "b", ""], "none": [], "": "empty name", "ключ": "x"},
]


def test_every_kind_of_metadata_and_sparse_values_arrives(pair: Pair) -> None:
    pair.blue.upsert(
        vectors=[{"id": f"m{n}", "values": [0.1, -1e-30, 3.4e38, 1 / 3], "metadata": one} for n, one in enumerate(METADATA)]
        + [{"id": "sparse", "values": [1.0] * 4, "sparse_values": {"indices": [2**31, 7], "values": [0.5, 0.1]}}],
        namespace="1",
    )  # fmt: skip
    assert pair.copy() == 5
    ids = [*(f"m{n}" for n in range(4)), "sparse"]
    mine, theirs = (index.fetch(ids=ids, namespace="1").vectors for index in (pair.blue, pair.green))
    assert len(theirs) == 5 and mine == theirs
    assert pair.suspects() == {}


def test_all_families_but_the_skipped_are_copied_and_neighbours_stay(pair: Pair) -> None:
    pair.collections |= {"1": frozenset({"7"}), "12": frozenset({"77"})}
    for namespace in ("1", "12", "kb-7", "kb-77", "1--a", "1--b", "12--a", "warm:1", "cache:1", "cache:12"):
        pair.blue.upsert(vectors=[vector("a"), vector("b")], namespace=namespace)
    assert pair.copy() == 10
    there = {one.name for page in pair.green.list_namespaces() for one in page}
    assert there == {"1", "kb-7", "1--a", "1--b", "warm:1", "__tenant_lifecycle__"}
    assert pair.suspects() == {}
    assert pair.suspects("12") != {}
    sizes = {size.name: size.items for size in pair.source.inventory(TenantId("1"), exact=True)}
    assert sizes == {"docs": 2, "knowledge": 2, "parts": 4, "answers": 2, "cache": 2}


@pytest.mark.parametrize("tenant", ["a*b", "it's; --%s", "a/../b", "..", "x\ny", "?&=#%2F", " ", "[0-9]"])
def test_hostile_tenant_ids_are_namespaces_like_others(pair: Pair, tenant: str) -> None:
    for namespace in (tenant, f"{tenant}--x", "a--other", "xb"):
        pair.blue.upsert(vectors=[vector("id/?&#%2F *")], namespace=namespace)
    assert pair.copy(tenant) == 2
    assert pair.suspects(tenant) == {}
    assert pair.source.set_of(TenantId(tenant), key(tenant, "x")) == "docs"
    assert pair.source.set_of(TenantId("other"), key(tenant, "x")) is None
    assert dict(pair.target.remove(pair.feed(tenant), nothing))["docs"] == 1
    assert not pair.target.holds(TenantId(tenant)) and pair.source.holds(TenantId(tenant))


def test_a_tenant_whose_name_no_namespace_can_have_has_nothing(pair: Pair) -> None:
    assert pair.copy("zürich 租户") == 0
    assert not pair.source.holds(TenantId("zürich 租户"))


def test_many_vectors_are_copied_in_batches(pair: Pair) -> None:
    for first in range(0, 2500, 500):
        pair.blue.upsert(
            vectors=[vector(f"{n:05}", n + 1.0) for n in range(first, first + 500)], namespace="1"
        )
    assert pair.copy() == 2500
    compared = pair.source.compare(pair.target, TenantId("1"), "docs", nothing)
    assert (compared.items, dict(compared.suspects)) == (2500, {})
    assert compared.leaves >= 25


def _next_float(value: float) -> float:
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    (changed,) = struct.unpack("<f", struct.pack("<I", bits ^ 1))
    return float(changed)


def _change(pair: Pair, what: str) -> dict[bytes, tuple[DifferenceKind, tuple[str, ...]]]:
    """Change one thing on the target; what has to be found."""
    green, different = pair.green, DifferenceKind.DIFFERENT
    match what:
        case "one float's last bit":
            values = [1.0, 0.25, _next_float(1 / 3), 1.0]
            green.upsert(vectors=[{"id": "a", "values": values, "metadata": {"n": 1.0}}], namespace="1")
            return {key("1", "a"): (different, ("values",))}
        case "one metadata value":
            green.update(id="a", set_metadata={"n": 1.0000000000000002}, namespace="1")
            return {key("1", "a"): (different, ("metadata",))}
        case "true for 1":
            green.update(id="a", set_metadata={"n": True}, namespace="1")
            return {key("1", "a"): (different, ("metadata",))}
        case "sparse values":
            sparse = {"indices": [1], "values": [0.5]}
            green.update(id="a", sparse_values=sparse, namespace="1")
            return {key("1", "a"): (different, ("sparse",))}
        case "missing":
            green.delete(ids=["b"], namespace="1")
            return {key("1", "b"): (DifferenceKind.MISSING, ())}
        case "extra":
            green.upsert(vectors=[vector("zz")], namespace="1--new")
            return {key("1--new", "zz"): (DifferenceKind.EXTRA, ())}
        case "swapped namespaces":
            green.upsert(vectors=[vector("a", 3.0)], namespace="1")
            green.upsert(vectors=[vector("a", 1.0)], namespace="1--x")
            fields = ("values", "metadata")
            return {key("1", "a"): (different, fields), key("1--x", "a"): (different, fields)}
    raise AssertionError(what)


@pytest.mark.parametrize(
    "what",
    ["one float's last bit", "one metadata value", "true for 1", "sparse values", "missing", "extra",
     "swapped namespaces"],
)  # fmt: skip
def test_every_mutation_is_found_explained_and_mended(pair: Pair, what: str) -> None:
    pair.blue.upsert(vectors=[vector("a"), vector("b", 2.0)], namespace="1")
    pair.blue.upsert(vectors=[vector("a", 3.0)], namespace="1--x")
    pair.copy()
    assert pair.suspects() == {}
    expected = _change(pair, what)
    suspects = pair.suspects()
    found = pair.source.compare_keys(pair.target, TenantId("1"), suspects)
    assert {one.key: (one.kind, one.fields) for one in found} == expected
    assert pair.source.repair(pair.target, pair.feed(), suspects) == len(expected)
    assert pair.source.compare_keys(pair.target, TenantId("1"), suspects) == []
    assert pair.suspects() == {}


def test_warm_and_skipped_families_are_not_compared(pair: Pair) -> None:
    for namespace in ("warm:1", "cache:1"):
        pair.blue.upsert(vectors=[vector("a")], namespace=namespace)
    assert pair.suspects() == {}
    keys = {**wanted("answers", "warm:1", "a"), **wanted("cache", "cache:1", "a")}
    assert pair.source.compare_keys(pair.target, TenantId("1"), keys) == []
    pair.green.upsert(vectors=[vector("a")], namespace="cache:1")
    assert pair.source.repair(pair.target, pair.feed(), keys) == 2
    assert pair.green.fetch(ids=["a"], namespace="cache:1").vectors == {}
    assert pair.green.fetch(ids=["a"], namespace="warm:1").vectors != {}
    assert set(pair.source.sets(TenantId("1"))) == {"docs", "knowledge", "parts"}
    assert set(FAMILIES) > set(pair.source.sets(TenantId("1")))


def test_a_few_keys_cost_a_few_requests(pair: Pair) -> None:
    pair.blue.upsert(vectors=[vector("a"), vector("b")], namespace="1")
    pair.copy()
    keys = wanted("docs", "1", "a", "b")
    pair.source.compare_keys(pair.target, TenantId("1"), keys)
    before = [sum(server.requests().values()) for server in pair.servers]
    assert pair.source.compare_keys(pair.target, TenantId("1"), keys) == []
    after = [sum(server.requests().values()) for server in pair.servers]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2]
