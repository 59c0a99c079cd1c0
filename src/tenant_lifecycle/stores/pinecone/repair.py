"""Making the target's vectors equal to what the source has now, and proving it before saying so."""

from __future__ import annotations

from collections.abc import Mapping

from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Feed, Keys
from tenant_lifecycle.stores.pinecone import keys as keyform
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.comparing import read_both
from tenant_lifecycle.stores.pinecone.patience import QUICK
from tenant_lifecycle.stores.pinecone.side import OURS, Side, is_ours
from tenant_lifecycle.stores.pinecone.vectors import content, upserts

Place = tuple[str, str]
_MOST_DELETED = 1_000


def repair(source: Side, target: Side, feed: Feed, keys: Keys) -> int:
    """Returns how many vectors of the target changed; each was read back as it was written.

    Families that are not moved lose the vector on the target.

    Raises:
        Fenced: a newer driver was here; some of it may have been written (see `ours`).
        StoreBusy: what was written cannot be read back yet, or somebody else wrote in between.
    """
    places = _places(keys)
    carried = {place: name for place, name in places.items() if not _skipped(source, name)}
    token = (OURS, ours.token_id(feed))
    here, there = read_both(source, target, carried, {**places, token: ""}, QUICK)
    ours.judge(target, feed, there, QUICK)
    wanted = {place: here.get(place) for place in places}
    changes = {place: vector for place, vector in wanted.items() if content(vector) != content(there[place])}
    if not changes:
        return 0
    _write(target, changes)
    _prove(target, feed, changes)
    return len(changes)


def _places(keys: Keys) -> dict[Place, str]:
    return {
        place: name
        for name, some in keys.items()
        for key in some
        if (place := keyform.decode(key)) is not None and not is_ours(place[0])
    }


def _skipped(source: Side, set_name: str) -> bool:
    return source.key_map.families[set_name].treatment is Treatment.SKIP


def _write(target: Side, changes: Mapping[Place, Vector | None]) -> None:
    """All namespaces at once."""
    by_namespace: dict[str, list[tuple[str, Vector | None]]] = {}
    for (namespace, id), vector in changes.items():
        by_namespace.setdefault(namespace, []).append((id, vector))
    begun = [
        target.client.pool.submit(_write_namespace, target, namespace, some)
        for namespace, some in by_namespace.items()
    ]
    for future in begun:
        future.result()


def _write_namespace(target: Side, namespace: str, changes: list[tuple[str, Vector | None]]) -> None:
    for body in upserts(vector for _, vector in changes if vector is not None):
        target.client.upsert(namespace, body, QUICK)
    doomed = sorted(id for id, vector in changes if vector is None)
    for first in range(0, len(doomed), _MOST_DELETED):
        target.client.delete(namespace, doomed[first : first + _MOST_DELETED], QUICK)


def _prove(target: Side, feed: Feed, changes: Mapping[Place, Vector | None]) -> None:
    """Read back what was written, and that no newer driver came meanwhile."""
    wanted: dict[str, list[str]] = {OURS: [ours.token_id(feed)]}
    for namespace, id in changes:
        wanted.setdefault(namespace, []).append(id)
    found = target.freshness.read(wanted, QUICK)
    ours.judge(target, feed, found, QUICK)
    different = sum(content(found[place]) != content(vector) for place, vector in changes.items())
    if different:
        raise StoreBusy(
            f"{target.name}: {different} of {len(changes)} vectors cannot be read back as they were written",
            store=target.name,
            next_step="try again; the service may lag, or somebody else writes there",
        )
