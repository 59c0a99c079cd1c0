"""Comparing: whole sets by merging both sides' lists of ids, and single vectors by their keys.

Nothing of the copier is used: the lists are walked by logic of its own. Memory holds a page of each side.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check, Compared, Difference, DifferenceKind, Keys
from tenant_lifecycle.stores.pinecone import keys as keyform
from tenant_lifecycle.stores.pinecone.client import batches
from tenant_lifecycle.stores.pinecone.freshness import Found, gather
from tenant_lifecycle.stores.pinecone.patience import QUICK, Patience
from tenant_lifecycle.stores.pinecone.side import Side, candidates
from tenant_lifecycle.stores.pinecone.vectors import content

#: Seconds that keys which differ are read again before they count: a fetch may lag behind.
RECHECK_S = 1.0
#: A comparison that has found this many suspects ends: nobody repairs so many.
MOST_SUSPECTS = 20_000
_AHEAD = 4
_PAUSE_S = 0.05


def sets(side: Side, tenant: TenantId) -> list[str]:
    """Families that are moved."""
    families = side.resolve(tenant).families.values()
    return [family.name for family in families if family.treatment is Treatment.MOVE]


# -- whole sets


@dataclass(slots=True)
class _Tally:
    items: int = 0
    leaves: int = 0
    suspects: set[bytes] = field(default_factory=set)


def compare(source: Side, target: Side, tenant: TenantId, set_name: str, check: Check) -> Compared:
    """Every namespace of the family, on either side.

    Raises:
        StoreBusy: reads stay behind writes for longer than `Patience.settle_s`.
    """
    patience = Patience(check=check)
    resolved = source.resolve(tenant)
    family = resolved.families[set_name]
    tally = _Tally()
    for namespace in sorted(candidates(source, family, patience) | candidates(target, family, patience)):
        if resolved.family_of(namespace) == set_name and len(tally.suspects) < MOST_SUSPECTS:
            _compare_namespace(source, target, namespace, tally, patience)
    suspects = {set_name: frozenset(tally.suspects)} if tally.suspects else {}
    return Compared(tally.items, tally.leaves, suspects)


def _compare_namespace(source: Side, target: Side, namespace: str, tally: _Tally, patience: Patience) -> None:
    both: list[str] = []
    begun: deque[tuple[list[str], list[Future[Found]]]] = deque()

    def finish(most: int) -> None:
        while len(begun) > most:
            ids, (here, there) = begun.popleft()
            tally.suspects |= _unequal(namespace, ids, here.result(), there.result())

    def begin() -> None:
        for ids in batches(both):
            begun.append(
                (
                    ids,
                    [
                        side.client.pool.submit(_fetched, side, namespace, ids, patience)
                        for side in (source, target)
                    ],
                )
            )
            tally.leaves += 1
        both.clear()
        finish(_AHEAD)

    for id, here, there in _merged(_ids(source, namespace, patience), _ids(target, namespace, patience)):
        tally.items += here
        if here and there:
            both.append(id)
        else:
            tally.suspects.add(keyform.encode(namespace, id))
        if len(both) == 100:
            patience.check()
            begin()
        if len(tally.suspects) >= MOST_SUSPECTS:
            break
    begin()
    finish(0)


def _fetched(side: Side, namespace: str, ids: list[str], patience: Patience) -> Found:
    vectors, _ = side.client.fetch(namespace, ids, patience)
    return {(namespace, id): vectors.get(id) for id in ids}


def _unequal(namespace: str, ids: list[str], here: Found, there: Found) -> set[bytes]:
    return {
        keyform.encode(namespace, id)
        for id in ids
        if content(here[namespace, id]) != content(there[namespace, id])
    }


def _ids(side: Side, namespace: str, patience: Patience) -> Iterator[str]:
    """All ids, everything written before the call included; in order, or the merge would be worth nothing."""
    if side.freshness.settle(namespace, patience) is None:
        return
    last = ""
    for page in side.client.pages(namespace, patience):
        for id in page:
            if id <= last:
                raise StoreRejected(f"{side.name}: the service lists ids out of order", store=side.name)
            last = id
            yield id


def _merged(here: Iterator[str], there: Iterator[str]) -> Iterator[tuple[str, bool, bool]]:
    """Ids of both sides, and on which each is."""
    mine, theirs = next(here, None), next(there, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine < theirs):
            assert mine is not None
            yield mine, True, False
            mine = next(here, None)
        elif mine is None or theirs < mine:
            yield theirs, False, True
            theirs = next(there, None)
        else:
            yield mine, True, True
            mine, theirs = next(here, None), next(there, None)


# -- single keys


def compare_keys(source: Side, target: Side, keys: Keys, recheck_s: float = RECHECK_S) -> list[Difference]:
    """Both sides read now, at once; those that differ are read again until they do not, or the time is over."""
    moved = {name for name, family in source.key_map.families.items() if family.treatment is Treatment.MOVE}
    wanted = {
        place: name
        for name, some in keys.items()
        if name in moved
        for key in some
        if (place := keyform.decode(key)) is not None
    }
    end = time.monotonic() + recheck_s
    while True:
        here, there = read_both(source, target, wanted, wanted, QUICK)
        found = [
            difference
            for place, name in sorted(wanted.items())
            if (difference := _difference(name, place, here, there)) is not None
        ]
        if not found or time.monotonic() >= end:
            return found
        wanted = {place: wanted[place] for place in (keyform.decode(one.key) for one in found) if place}
        time.sleep(_PAUSE_S)


def read_both(
    source: Side,
    target: Side,
    here: dict[tuple[str, str], str],
    there: dict[tuple[str, str], str],
    patience: Patience,
) -> tuple[Found, Found]:
    """Vectors of both sides, read at the same time; what was written before the call is seen."""
    begun = [
        side.freshness.begin(_by_namespace(places), patience)
        for side, places in ((source, here), (target, there))
    ]
    return gather(begun[0]), gather(begun[1])


def _by_namespace(places: dict[tuple[str, str], str]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for namespace, id in places:
        wanted.setdefault(namespace, []).append(id)
    return wanted


def _difference(set_name: str, place: tuple[str, str], here: Found, there: Found) -> Difference | None:
    mine, theirs = content(here[place]), content(there[place])
    if mine == theirs:
        return None
    namespace, id = place
    key, text = keyform.encode(namespace, id), f"{id} in namespace {namespace}"
    if mine is None:
        return Difference(set_name, key, text, DifferenceKind.EXTRA)
    if theirs is None:
        return Difference(set_name, key, text, DifferenceKind.MISSING)
    return Difference(set_name, key, text, DifferenceKind.DIFFERENT, mine.differing(theirs))
