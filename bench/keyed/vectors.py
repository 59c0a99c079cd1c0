"""Vectors of 32 numbers with metadata, in two emulators of Pinecone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pinecone import Pinecone
from pinecone.exceptions import NotFoundException

from bench.keyed.tenancy import NEIGHBOUR, TENANT, batches, opened
from tenant_lifecycle.sandbox.pinecone import PineconeServer
from tenant_lifecycle.stores.pinecone import keys as names

_DIMENSION, _PAGE = 32, 100
_KEY = "bench"


class Vectors:
    """See `tenancy.Tenancy`."""

    kind = "pinecone"
    peer = "a loop with the SDK"

    def __init__(self, blue: PineconeServer, green: PineconeServer, items: int) -> None:
        self.items = items
        settings = [{"api_key": _KEY, "index": "items", "host": server.host} for server in (blue, green)]
        self._blue, self._green = (_index(server) for server in (blue, green))
        self.stores = opened("pinecone", "{tenant}", (settings[0], settings[1]))
        for tenant in (TENANT, NEIGHBOUR):
            for some in batches([_vector(f"{n:06}", n) for n in range(items)], _PAGE):
                self._blue.upsert(vectors=some, namespace=tenant, show_progress=False)

    def empty(self) -> None:
        for namespace in [one.name for page in self._green.list_namespaces() for one in page.namespaces]:
            with suppress(NotFoundException):
                self._green.delete(delete_all=True, namespace=namespace)

    def there(self) -> int:
        return sum(len(ids) for ids in self._ids(self._green))

    def delete_one_by_one(self) -> None:
        """By hand: a deletion for every id that a listing of blue shows."""
        for id_ in [one for ids in self._ids(self._blue) for one in ids]:
            self._blue.delete(ids=[id_], namespace=TENANT)

    def at_source(self) -> int:
        """How many items of the tenant blue has."""
        return sum(len(ids) for ids in self._ids(self._blue))

    def copy(self) -> None:
        for ids in self._ids(self._blue):
            self._carry(ids)

    def equal(self) -> bool:
        for ids in self._ids(self._blue):
            here, there = (
                side.fetch(ids=ids, namespace=TENANT).vectors for side in (self._blue, self._green)
            )
            if any(_content(here[id]) != _content(there.get(id)) for id in ids):
                return False
        return self.there() == self.items

    def change(self, count: int, number: int) -> list[bytes]:
        ids = [f"{n:06}" for n in range(count)]
        gone = [id for n, id in enumerate(ids) if not (n + number) % 10]
        kept = [_vector(id, n + 7919 * number) for n, id in enumerate(ids) if (n + number) % 10]
        for some in batches(kept, _PAGE):
            self._blue.upsert(vectors=some, namespace=TENANT, show_progress=False)
        self._blue.delete(ids=gone, namespace=TENANT)
        return [names.encode(TENANT, id) for id in ids]

    def carry(self, keys: list[bytes]) -> None:
        for key in keys:
            place = names.decode(key)
            assert place is not None
            self._carry([place[1]])

    def close(self) -> None:
        """Give back connections."""
        for one in (*self.stores, self._blue, self._green):
            one.close()

    def _ids(self, side: Any) -> Iterator[list[str]]:
        for page in side.list(namespace=TENANT):
            yield [str(getattr(one, "id", one)) for one in getattr(page, "vectors", page)]

    def _carry(self, ids: list[str]) -> None:
        found = self._blue.fetch(ids=ids, namespace=TENANT).vectors
        if found:
            self._green.upsert(vectors=list(found.values()), namespace=TENANT, show_progress=False)
        if len(found) < len(ids):
            self._green.delete(ids=[id for id in ids if id not in found], namespace=TENANT)


def _content(vector: Any) -> object:
    return None if vector is None else (list(vector.values), vector.metadata)


def _vector(id: str, number: int) -> dict[str, Any]:
    dice = random.Random(number)
    return {
        "id": id,
        "values": [dice.uniform(-1, 1) for _ in range(_DIMENSION)],
        "metadata": {"n": number, "text": f"a piece of text of number {number} " * 3},
    }


def _index(server: PineconeServer) -> Any:
    values = {"type": "dense_vector", "dimension": _DIMENSION, "metric": "cosine"}
    with Pinecone(_KEY, host=server.host) as control:
        control.indexes.create(name="items", schema={"fields": {"values": values}})
        return control.index(name="items")


@contextmanager
def vectors(_folder: Path, items: int) -> Iterator[Vectors]:
    """In two emulators of its own."""
    with PineconeServer(index=None) as blue, PineconeServer(index=None) as green:
        found = Vectors(blue, green, items)
        try:
            yield found
        finally:
            found.close()
