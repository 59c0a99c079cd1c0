"""Every reason not to move is found before anything is changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pinecone import Pinecone
from pinecone_pair import API_KEY, Pair, nothing, vector

from tenant_lifecycle.errors import ConfigError, StoreRejected, UnmappedData
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.keymap import Family
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.pinecone.store import PineconeStore
from tenant_lifecycle.stores.registry import no_ids

TENANT = TenantId("1")
ONLY_FIXED = {"docs": Family(Template.parse("docs-{tenant}"))}


def codes(pair: Pair, tenant: TenantId = TENANT) -> list[str]:
    return [one.code for one in refusals(pair.source.preflight(pair.target, tenant))]


def replace_index(pair: Pair, fields: dict | None) -> None:
    """Delete green's index; give it another one of that name, if fields are given."""
    control = Pinecone(API_KEY, host=pair.servers[1].host)
    control.delete_index(pair.name)
    if fields is not None:
        control.indexes.create(name=pair.name, schema={"fields": fields})
    control.close()


def test_nothing_is_refused_where_nothing_is_wrong(new_pair: Callable[..., Pair]) -> None:
    pair = new_pair(families=ONLY_FIXED)
    pair.blue.upsert(vectors=[vector("a")], namespace="docs-1")
    pair.blue.upsert(vectors=[vector("a")], namespace="global-x")
    assert codes(pair) == []
    assert pair.source.tenants() == ["1"]


def test_unmapped_namespaces_are_refused(new_pair: Callable[..., Pair]) -> None:
    pair = new_pair(families=ONLY_FIXED)
    pair.blue.upsert(vectors=[vector("a")], namespace="stranger")
    assert codes(pair) == ["pinecone.unmapped"]
    with pytest.raises(UnmappedData):
        pair.source.inventory(TENANT)


def test_an_occupied_target_is_refused_though_the_service_does_not_show_it_yet(pair: Pair) -> None:
    pair.green.upsert(vectors=[vector("a")], namespace="1")
    assert codes(pair) == ["pinecone.target-occupied"]
    assert codes(pair, TenantId("12")) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"values": {"type": "dense_vector", "dimension": 8, "metric": "cosine"}, "sparse_values": {"type": "sparse_vector"}},
        {"values": {"type": "dense_vector", "dimension": 4, "metric": "euclidean"}, "sparse_values": {"type": "sparse_vector"}},
        {"values": {"type": "dense_vector", "dimension": 4, "metric": "cosine"}},
    ],
)  # fmt: skip
def test_another_kind_of_index_is_refused(pair: Pair, fields: dict) -> None:
    replace_index(pair, fields)
    assert codes(pair) == ["pinecone.index-mismatch"]
    with pytest.raises(StoreRejected):
        pair.source.create_missing(pair.target, TENANT)


def test_a_missing_index_is_refused_or_created_where_that_is_allowed(new_pair: Callable[..., Pair]) -> None:
    pair = new_pair()
    replace_index(pair, None)
    assert codes(pair) == ["pinecone.index-missing"]
    with pytest.raises(StoreRejected):
        pair.source.create_missing(pair.target, TENANT)
    allowed = new_pair(create_index="yes")
    allowed.blue.upsert(vectors=[vector("a")], namespace="1")
    replace_index(allowed, None)
    assert codes(allowed) == []
    assert allowed.source.create_missing(allowed.target, TENANT) != []
    assert allowed.source.create_missing(allowed.target, TENANT) == []
    assert allowed.copy() == 1 and allowed.suspects() == {}


def test_declared_metadata_fields_are_carried_over(pair: Pair) -> None:
    schema = {"fields": {"n": {"filterable": True}}}
    pair.blue.create_namespace(name="1", schema=schema)
    assert pair.source.create_missing(pair.target, TENANT) != []
    described = pair.green.describe_namespace(name="1")
    assert described.schema is not None and set(described.schema.fields) == {"n"}
    assert pair.source.create_missing(pair.target, TENANT) == []


def test_the_same_index_on_both_sides_is_refused(pair: Pair) -> None:
    assert "pinecone.same-index" in [one.code for one in refusals(pair.source.preflight(pair.source, TENANT))]


def test_our_own_namespace_is_nobodys(pair: Pair) -> None:
    pair.source.incarnation()
    assert pair.source.set_of(TenantId("__tenant_lifecycle__"), b"__tenant_lifecycle__\0identity") is None
    assert codes(pair, TenantId("__tenant_lifecycle__")) == ["pinecone.reserved"]
    pair.source.remove(pair.feed("__tenant_lifecycle__"), nothing)
    assert pair.source.incarnation() == pair.source.incarnation()


def test_settings_that_are_missing_are_named() -> None:
    with pytest.raises(ConfigError, match="index"):
        PineconeStore.from_config(
            name="vectors",
            environment="blue",
            settings={"api_key": "k"},
            ownership=OwnershipMap(),
            ids=no_ids,
        )
