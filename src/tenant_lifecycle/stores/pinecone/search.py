"""A Pinecone project with the verifier's eyes: every index, every namespace, every id and all metadata.

Writes nothing, so it cannot make sure that it sees the latest writes: looks are repeated. Numbers of vectors cannot be
searched for a text; vectors are found by id and by metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Batch, Found, Looked, Place
from tenant_lifecycle.stores.pinecone import items, keys
from tenant_lifecycle.stores.pinecone.client import Client, batches
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side, is_ours
from tenant_lifecycle.stores.tally import Tally


def places(side: Side) -> list[Place]:
    """``index/namespace`` for everything that the key of the project can list."""
    found = []
    for index in side.client.indexes(Patience()):
        own = index == side.client.index_name
        for space in side.at(index).namespaces("", Patience()):
            known = own and (is_ours(space.name) or side.key_map.mentions(space.name))
            found.append(Place(f"{index}/{space.name}", known, space.record_count))
    return found


def search(side: Side, place: Place, found: Found, check: Check) -> Looked:
    """Go through one namespace; what may not be read makes the result say so."""
    index, _, space = place.name.partition("/")
    tally = Tally(place.name, found)
    proposal = "" if place.declared else _proposal(index, space, own=index == side.client.index_name)
    patience = replace(Patience(), check=check)
    try:
        client = side.at(index)
        tally.look(space, space.encode(), proposal)
        for page in client.pages(space, patience):
            check()
            _page(client, tally, space, page, proposal, patience)
    except StoreRejected as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def _page(
    client: Client, tally: Tally, space: str, ids: list[str], proposal: str, patience: Patience
) -> None:
    for some in batches(ids):
        vectors, _ = client.fetch(space, some, patience)
        for one in some:
            tally.count()
            tally.look(one, one.encode(), proposal)
            if one in vectors:
                for text in _texts(dict(vectors[one].metadata or {})):
                    tally.look(one, text.encode("utf-8", "surrogatepass"), proposal)


def _texts(value: object) -> Iterator[str]:
    """Every name and value in metadata, lists included."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    else:
        yield str(value)


def _proposal(index: str, space: str, *, own: bool) -> str:
    rule = f"shared: {{found: {{template: '{space}', owner: '{{tenant}}*'}}}}, or a family with {{tenant}} in its name"
    return rule if own else f"a pinecone store with index: {index}, and for it {rule}"


def remaining(side: Side, batch: Batch, check: Check) -> frozenset[bytes]:
    """Vectors that can still be fetched, and namespaces that are still listed."""
    patience = replace(Patience(), check=check)
    whole, ids = items.grouped(batch.keys)
    listed = {one.name for one in side.client.namespaces("", patience)}
    left = {items.namespace(one) for one in whole if one in listed}
    for space, some in ids.items():
        if space not in listed:
            continue
        for part in batches(some):
            check()
            vectors, _ = side.client.fetch(space, part, patience)
            left |= {keys.encode(space, one) for one in part if one in vectors}
    return frozenset(left)
