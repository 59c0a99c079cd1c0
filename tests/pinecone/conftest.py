"""Two emulators, blue and green, for the whole session; an index and stores of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pinecone import Pinecone
from pinecone_pair import API_KEY, FAMILIES, NO_FAULTS, Pair

from tenant_lifecycle.model.keymap import Family, IdSet, KeyMap, TenantIds
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.pinecone.store import PineconeStore

_numbers = itertools.count()


@pytest.fixture(scope="session")
def blue_server() -> Iterator[PineconeServer]:
    with PineconeServer(index=None, api_key=API_KEY) as server:
        yield server


@pytest.fixture(scope="session")
def green_server() -> Iterator[PineconeServer]:
    with PineconeServer(index=None, api_key=API_KEY) as server:
        yield server


@pytest.fixture
def new_pair(blue_server: PineconeServer, green_server: PineconeServer) -> Iterator[Callable[..., Pair]]:
    """``new_pair()`` makes an index on both sides; a ``dimension`` or ``families`` may be given."""
    made: list[Pair] = []

    def make(
        *, servers: tuple[PineconeServer, PineconeServer] = (blue_server, green_server),
        families: dict[str, Family] = FAMILIES, sparse: bool = True, **settings: str,
    ) -> Pair:  # fmt: skip
        name = f"test-{next(_numbers)}"
        collections: dict[str, frozenset[str]] = {}
        ownership = OwnershipMap(
            ids={"collection": IdSet(TableName("public", "collections"), "id")},
            keys={"vectors": KeyMap(families, (Template.parse("global-*"),))},
        )
        stores, indexes = [], []
        for environment, server in zip(("blue", "green"), servers, strict=True):
            control = Pinecone(API_KEY, host=server.host)
            fields: dict[str, Any] = {"values": {"type": "dense_vector", "dimension": 4, "metric": "cosine"}}
            if sparse:
                fields["sparse_values"] = {"type": "sparse_vector"}
            control.indexes.create(name=name, schema={"fields": fields})
            indexes.append(control.index(name=name))
            control.close()
            stores.append(
                PineconeStore.from_config(
                    name="vectors", environment=environment,
                    settings={"api_key": API_KEY, "index": name, "host": server.host, **settings},
                    ownership=ownership,
                    ids=lambda tenant: TenantIds({"collection": collections.get(tenant, frozenset())}),
                )
            )  # fmt: skip
        made.append(Pair(servers, name, *stores, *indexes, collections))
        return made[-1]

    yield make
    for server in (blue_server, green_server):
        server.faults(**NO_FAULTS)
    for pair in made:
        for opened in (pair.source, pair.target, pair.blue, pair.green):
            opened.close()


@pytest.fixture
def pair(new_pair: Callable[..., Pair]) -> Pair:
    return new_pair()
