"""Copying a tenant's objects in parts: ranges of keys, cut once, remembered in the target, each done any number of times.

A part that was cut short by a crash is simply done again: what the target has already is not written twice,
because every key is carried as in `carry`. The done-mark is written after the last key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from tenant_lifecycle.errors import FeedError
from tenant_lifecycle.model.keymap import ResolvedFamily, ResolvedKeys
from tenant_lifecycle.stores.base import Check, Copied, Feed, Part
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.carry import Carrier
from tenant_lifecycle.stores.s3.connection import Absent, Changed
from tenant_lifecycle.stores.s3.listing import stacks
from tenant_lifecycle.stores.s3.owned import Area, family_of, moved, named, own_place, prefixes
from tenant_lifecycle.stores.s3.threads import each

#: Keys of one part. A copy of more than `MOST_PARTS` of them has larger parts.
PART_KEYS = 1_000
MOST_PARTS = 2_000


@dataclass(frozen=True, slots=True)
class Range:
    """One part: keys of a family after ``after`` up to ``until``, in one area or among its whole keys."""

    set: str
    #: The prefix listed; None: the family's whole keys.
    prefix: str | None
    after: str
    #: "": to the end.
    until: str
    items: int

    def holds(self, key: str) -> bool:
        return key > self.after and (not self.until or key <= self.until)


def split(source: Area, carrier: Carrier, feed: Feed) -> list[Part]:
    """Cut, or read what was cut before; with what is done."""
    target, place = carrier.sides.target, _place(feed)
    carrier.guard.check()
    ranges = _remembered(target, place)
    if ranges is None:
        ranges = list(_cut(source.bucket, source.resolve(feed.tenant), carrier.history))
        text = json.dumps([asdict(one) for one in ranges]).encode()
        try:
            target.put(place + "parts", text, None, {})
        except Changed:
            # Another driver was faster; what it cut counts.
            ranges = _remembered(target, place) or []
    done = _done(target, place)
    return [Part(_name(n, one), one.set, one.items, str(n) in done) for n, one in enumerate(ranges)]


def copy_part(source: Area, carrier: Carrier, feed: Feed, part: Part, check: Check) -> Copied:
    """Carry every key of the part, then mark it as done.

    Raises:
        FeedError: the part is none of this feed's.
    """
    target, place = carrier.sides.target, _place(feed)
    number, piece = _find(target, place, part)
    carrier.guard.check()
    mark = f"{place}done/{number}"
    try:
        return Copied(**json.loads(target.small(mark)[0]))
    except Absent:
        pass
    resolved = source.resolve(feed.tenant)
    items = size = 0
    keys = _keys(source.bucket, resolved, piece, history=carrier.history)
    for batch in iter(lambda: list(islice(keys, 100)), []):
        check()
        for _, brought in each(carrier.carry, batch):
            size += brought
        items += len(batch)
    carrier.guard.check()
    target.call("put_object", Key=mark, Body=json.dumps({"items": items, "bytes": size}).encode())
    return Copied(items, size)


def _cut(bucket: Bucket, resolved: ResolvedKeys, history: bool) -> Iterator[Range]:
    for family in moved(resolved):
        for prefix in prefixes(family):
            keys = (
                found.key
                for found in stacks(bucket, prefix, history=history)
                if family_of(resolved, found.key) == family.name
            )
            yield from _ranges(family, prefix, keys)
        yield from _ranges(family, None, iter(named(family)))


def _ranges(family: ResolvedFamily, prefix: str | None, keys: Iterator[str]) -> list[Range]:
    """Ranges of `PART_KEYS` keys; the last one is open, for what is written after the cut."""
    found: list[Range] = []
    after, length = "", PART_KEYS
    while batch := list(islice(keys, length)):
        found.append(Range(family.name, prefix, after, batch[-1], len(batch)))
        after = batch[-1]
        if len(found) == MOST_PARTS:
            found = [_joined(*found[n : n + 2]) for n in range(0, MOST_PARTS, 2)]
            length *= 2
    if found:
        last = found[-1]
        found[-1] = Range(last.set, last.prefix, last.after, "", last.items)
    return found


def _joined(first: Range, second: Range) -> Range:
    return Range(first.set, first.prefix, first.after, second.until, first.items + second.items)


def _keys(bucket: Bucket, resolved: ResolvedKeys, piece: Range, *, history: bool) -> Iterator[str]:
    """The keys of a range that are there now."""
    family = resolved.families.get(piece.set)
    if family is None:
        return
    if piece.prefix is None:
        yield from (key for key in named(family) if piece.holds(key))
        return
    for found in stacks(bucket, piece.prefix, history=history, after=piece.after):
        if piece.until and found.key > piece.until:
            return
        if piece.holds(found.key) and family_of(resolved, found.key) == family.name:
            yield found.key


def _place(feed: Feed) -> str:
    return f"{own_place(feed.tenant)}{feed.name}/"


def _name(number: int, piece: Range) -> str:
    return f"{piece.set}/{number}"


def _remembered(target: Bucket, place: str) -> list[Range] | None:
    try:
        text = target.small(place + "parts")[0]
    except Absent:
        return None
    return [Range(**one) for one in json.loads(text)]


def _done(target: Bucket, place: str) -> frozenset[str]:
    pages = target.pages("list_objects_v2", Prefix=f"{place}done/")
    return frozenset(
        str(entry["Key"]).rpartition("/")[2] for page in pages for entry in page.get("Contents", ())
    )


def _find(target: Bucket, place: str, part: Part) -> tuple[int, Range]:
    for number, piece in enumerate(_remembered(target, place) or []):
        if _name(number, piece) == part.name:
            return number, piece
    raise FeedError(
        f"{target.store}: there is no such part of this feed", store=target.store,
        next_step="abort the move and begin anew",
    )  # fmt: skip
