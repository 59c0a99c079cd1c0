"""A base of one tenant's objects, what touched keys are now, and what they were while the bucket kept versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import PART_BYTES, Held, is_part
from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import BaseReading, Version
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import KeyedReading, kept_sets, left_out, shapes_of
from tenant_lifecycle.stores.s3.inventory import inventory
from tenant_lifecycle.stores.s3.listing import stack
from tenant_lifecycle.stores.s3.owned import Area, family_of, family_stacks, keeps_versions, prefixes
from tenant_lifecycle.stores.s3.reading import Clock, Wanted, read
from tenant_lifecycle.stores.s3.stack import Marker
from tenant_lifecycle.stores.s3.threads import each

#: Objects that are listed before they are read.
PAGE = 64
#: A listing tells times by the second.
SECOND_US = 1_000_000


@contextmanager
def read_base(area: Area, tenant: TenantId, clock: Clock, check: Check) -> Iterator[BaseReading]:
    """Every current object of the families that cannot be made again.

    Facts: whether the bucket keeps versions, how many versions and delete markers it keeps of the tenant's objects
    (they are counted, not read), objects and bytes as listed, and what is left out.

    Raises:
        UnmappedData: an object has no rule.
    """
    begun = clock()
    kept = kept_sets(area.keys)
    sizes = {size.name: size for size in inventory(area, tenant, exact=False)}
    resolved = area.resolve(tenant)
    facts: dict[str, Any] = {
        "versioning": keeps_versions(area.bucket), **_history(area, resolved, kept),
        "objects": sum(sizes[name].items for name in kept), "bytes": sum(sizes[name].bytes for name in kept),
        "left_out": left_out(area.keys),
    }  # fmt: skip
    yield KeyedReading(begun, shapes_of(kept), facts, lambda name: _items(area, resolved, name, clock, check))


def _history(area: Area, resolved: ResolvedKeys, sets: Iterable[str]) -> dict[str, int]:
    counts = {"versions": 0, "delete_markers": 0}
    for name in sets:
        family = resolved.families[name]
        for place in (*prefixes(family), *family.exact):
            for page in area.bucket.pages("list_object_versions", Prefix=place):
                for counted, field in (("versions", "Versions"), ("delete_markers", "DeleteMarkers")):
                    keys = (str(one["Key"]) for one in page.get(field, ()))
                    counts[counted] += sum(family_of(resolved, key) == name for key in keys)
    return counts


def _items(area: Area, resolved: ResolvedKeys, name: str, clock: Clock, check: Check) -> Iterator[Item]:
    """In the order of keys within a prefix; a part that several objects share comes once."""
    parts: set[bytes] = set()
    waiting: list[Wanted] = []
    for found in family_stacks(area.bucket, resolved, resolved.families[name], history=False):
        waiting.append(Wanted(name, found.key.encode(), found.key, found.versions[-1].size))
        if len(waiting) == PAGE:
            check()
            yield from _once(read(area.bucket, waiting, clock), parts)
            waiting = []
    yield from _once(read(area.bucket, waiting, clock), parts)


def _once(items: Iterable[Item], parts: set[bytes]) -> Iterator[Item]:
    for item in items:
        if item.key not in parts:
            yield item
        if is_part(item.key):
            parts.add(item.key)


def capture(area: Area, tenant: TenantId, keys: Sequence[bytes], clock: Clock) -> list[Item | None]:
    """Each key's current object; big ones without a cell, and not read. What is not the tenant's has none."""
    resolved, now = area.resolve(tenant), clock()
    there = [one for one in each(lambda key: _wanted(area, resolved, key), keys) if one is not None]
    found = {one.key: Item(one.set, one.key, (), now) for one in there if one.size > PART_BYTES}
    for item in read(area.bucket, [one for one in there if one.size <= PART_BYTES], clock):
        found[item.key] = Item(item.set, item.key, (), item.at_us) if _in_parts(item) else item
    return [found.get(key) for key in keys]


def _in_parts(item: Item) -> bool:
    """Whether it is a part, or an item that is: an object that grew after it was listed."""
    return is_part(item.key) or Held.read(item.cells[0] or b"").content is None


def capture_big(area: Area, tenant: TenantId, key: bytes, clock: Clock) -> Iterator[Item]:
    """The key's current object after its parts; nothing if it is not there, or not the tenant's."""
    one = _wanted(area, area.resolve(tenant), key)
    if one is not None:
        yield from read(area.bucket, [one], clock)


def _wanted(area: Area, resolved: ResolvedKeys, key: bytes) -> Wanted | None:
    """The key's current object; None: there is none, or it is not in a backup."""
    place = _place(resolved, key)
    if place is None:
        return None
    current = stack(area.bucket, place[1], history=False).current
    return Wanted(place[0], key, place[1], current.size) if current is not None else None


def _place(resolved: ResolvedKeys, key: bytes) -> tuple[str, str] | None:
    """Set and name of a key that a backup has."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    name = family_of(resolved, text)
    kept = name is not None and resolved.families[name].treatment is Treatment.MOVE
    return (name, text) if kept and name is not None else None


def versions(area: Area, tenant: TenantId, key: bytes, since_us: int, clock: Clock) -> list[Version]:
    """What the key was since then, the oldest first, delete markers included; the first was there before.

    Times are those of the service, by the second. The order of versions is exact; a delete marker may come late
    among versions of its own second, because the service lists markers apart.

    Raises:
        UnsupportedByStore: the bucket keeps no versions, or not so many.
    """
    place = _place(area.resolve(tenant), key)
    if place is None:
        return []
    if keeps_versions(area.bucket) != "Enabled":
        raise UnsupportedByStore(
            f"{area.bucket.store}: the bucket keeps no versions",
            next_step="switch versioning on: then every state of an object can be restored",
        )
    found = stack(area.bucket, place[1], history=True)
    entries = found.entries()
    first = max(
        (n for n, one in enumerate(entries) if _us(one.modified) + SECOND_US <= since_us), default=None
    )
    if first is None and found.cut:
        raise UnsupportedByStore(
            f"{area.bucket.store}: the key was written more often than versions are listed",
            next_step="archive more often",
        )
    return [
        Version(_us(one.modified), _us(one.modified) + SECOND_US - 1, _then(area, place, key, one, clock))
        for one in entries[first or 0 :]
    ]


def _then(area: Area, place: tuple[str, str], key: bytes, one: Any, clock: Clock) -> Item | None:
    if isinstance(one, Marker):
        return None
    if one.size > PART_BYTES:
        return Item(place[0], key, (), clock())
    return next(read(area.bucket, [Wanted(place[0], key, place[1], one.size, one.id)], clock), None)


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND_US
