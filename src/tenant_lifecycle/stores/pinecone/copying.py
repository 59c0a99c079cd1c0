"""The copy: a namespace is a part; its ids are listed, fetched and written in their order, and resumed in it.

Parts and how far each is stand in our own records of the target. A batch is written before that is noted, so a
driver that dies in between writes the batch again, which changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Check, Copied, Feed, Part
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.client import batches
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import OURS, Side, candidates
from tenant_lifecycle.stores.pinecone.vectors import stored_bytes, upserts

#: Pages of 100 ids that are fetched ahead of what is written.
_AHEAD = 4


def records_of(feed: Feed) -> str:
    """What the ids of the feed's records begin with."""
    tenant = hashlib.sha256(feed.tenant.encode()).hexdigest()[:12]
    return f"copy:{feed.name}:{tenant}:"


def split(source: Side, target: Side, feed: Feed) -> list[Part]:
    """The parts, written down in the target on the first call and read there on later ones."""
    patience = Patience()
    ours.guard(target, feed, patience)
    plan = f"{records_of(feed)}plan"
    known = ours.read(target, records_of(feed), patience)
    if plan not in known:
        known = _planned(source, feed, patience)
        ours.write(target, known, patience)
        ours.write(target, {plan: {"parts": len(known)}}, patience)
    elif len(known) != int(known[plan]["parts"]) + 1:
        raise StoreBusy(f"{target.name}: not all parts of the copy can be seen yet", store=target.name)
    parts = [
        Part(id.removeprefix(records_of(feed)), str(one["set"]), int(one["items"]), bool(one["done"]))
        for id, one in known.items()
        if id != plan
    ]
    return sorted(parts, key=lambda part: (part.set, part.name))


def _planned(source: Side, feed: Feed, patience: Patience) -> dict[str, ours.Metadata]:
    """One record for each namespace that is there, whatever the service's lagging counts say of it."""
    resolved = source.resolve(feed.tenant)
    planned: dict[str, ours.Metadata] = {}
    for family in resolved.families.values():
        if family.treatment is Treatment.SKIP:
            continue
        for namespace in sorted(candidates(source, family, patience)):
            if resolved.family_of(namespace) != family.name:
                continue
            if source.freshness.settle(namespace, patience) is None:
                continue
            described = source.client.namespace(namespace, patience)
            digest = hashlib.sha256(namespace.encode()).hexdigest()[:20]
            planned[f"{records_of(feed)}{digest}"] = {
                "set": family.name, "namespace": namespace, "done": False,
                "items": described.record_count if described is not None else 0,
            }  # fmt: skip
    return planned


@dataclass(slots=True)
class _Progress:
    """How far a part is."""

    items: int
    bytes: int
    #: The last id that was written; ids come in order.
    after: str


def copy_part(source: Side, target: Side, feed: Feed, part: Part, check: Check) -> Copied:
    """Copy one namespace; what an earlier call noted is skipped.

    Raises:
        Fenced: a newer driver was here.
    """
    patience = Patience(check=check)
    id = f"{records_of(feed)}{part.name}"
    record = dict(target.freshness.read({OURS: [id]}, patience)[OURS, id].metadata or {})  # type: ignore[union-attr]
    progress = _Progress(
        int(record.get("copied", 0)), int(record.get("bytes", 0)), str(record.get("after", ""))
    )
    if record["done"]:
        return Copied(progress.items, progress.bytes)
    namespace = str(record["namespace"])
    for body in upserts(vectors(source, namespace, progress.after, patience)):
        check()
        ours.guard(target, feed, patience)
        target.client.upsert(namespace, body, patience)
        progress.items += len(body)
        progress.bytes += sum(stored_bytes(one) for one in body)
        progress.after = body[-1]["id"]
        _note(target, id, record, progress, patience)
    _note(target, id, {**record, "done": True}, progress, patience)
    return Copied(progress.items, progress.bytes)


def _note(side: Side, id: str, record: ours.Metadata, progress: _Progress, patience: Patience) -> None:
    noted = {"copied": progress.items, "bytes": progress.bytes, "after": progress.after}
    ours.write(side, {id: {**record, **noted}}, patience)


def vectors(source: Side, namespace: str, after: str, patience: Patience) -> Iterator[Vector]:
    """The namespace's vectors behind ``after``, in the order of their ids; a few pages are fetched ahead."""
    if source.freshness.settle(namespace, patience) is None:
        return
    fetch = source.client.fetch
    begun: deque[Future[tuple[dict[str, Vector], int | None]]] = deque()
    for page in source.client.pages(namespace, patience):
        for ids in batches([id for id in page if id > after]):
            begun.append(source.client.pool.submit(fetch, namespace, ids, patience))
        while len(begun) > _AHEAD:
            yield from _in_order(begun.popleft().result()[0])
    while begun:
        yield from _in_order(begun.popleft().result()[0])


def _in_order(vectors: dict[str, Vector]) -> Iterator[Vector]:
    for id in sorted(vectors):
        yield vectors[id]
