"""Tenants for the tests of the repository: items of every form, and bases of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tenant_lifecycle.backups.repository import TenantBackups
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape, opaque
from tenant_lifecycle.model.backup.snapshot import Snapshot

NOTES = Shape("public.notes", (Column("id", "bigint", nullable=False), Column("body", "text")), ("id",))
OBJECTS = opaque("bucket")
Sets = Mapping[str, Sequence[Item]]


def note(number: int, body: bytes | None) -> Item:
    return Item(NOTES.set, b"%08d" % number, (b"%d" % number, body))


def thing(key: bytes, content: bytes, at_us: int = 1) -> Item:
    return Item(OBJECTS.set, key, (content,), at_us)


def some_items(seed: int = 0, notes: int = 40) -> dict[str, list[Item]]:
    """A little of everything: null and empty cells, hostile keys, a cell that is too large for a block."""
    dice = random.Random(seed)
    rows = [note(number, dice.randbytes(dice.randrange(50))) for number in range(notes)]
    rows += [note(notes, None), note(notes + 1, b"")]
    things = [
        thing(b"", b"empty key"), thing(b"\0\xff*?[{/\n'; DROP", b"hostile", 1 << 50), thing("ключ".encode(), b""),
        thing(b"large", dice.randbytes(300_000)),
    ]  # fmt: skip
    dice.shuffle(rows)
    return {NOTES.set: rows, OBJECTS.set: things}


def in_order(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.key)


def full_base(part: TenantBackups, sets: Sets, *, shapes: Sequence[Shape] = (NOTES, OBJECTS)) -> Manifest:
    """A full base of the sets: notes in the store postgres, everything else in the store s3."""
    writer = part.begin_base("blue", BaseKind.FULL, None, {"why": "test"}, tier="gold")
    stored = {shape.set: writer.add(_store(shape), shape, iter(sets[shape.set])) for shape in shapes}
    return writer.commit(stores_of(shapes, stored), 2_000, 3_000)


def delta_base(
    part: TenantBackups, parent: Manifest, changed: Sets, gone: Mapping[str, Sequence[bytes]], after: Sets,
    expires_us: int | None = None,
) -> Manifest:  # fmt: skip
    """A delta; ``after`` is what the sets are with it, for their fingerprints."""
    writer = part.begin_base("blue", BaseKind.DELTA, parent.id, {})
    shapes = {one.set: one for one in (NOTES, OBJECTS)}
    stored = {}
    for name, before in ((n, s) for base in parent.stores.values() for n, s in base.sets.items()):
        stored[name] = before
        if name in changed:
            stored[name] = writer.add(_store(shapes[name]), shapes[name], changed[name])
        if gone.get(name):
            writer.gone(_store(shapes[name]), name, gone[name])
        stored[name] = replace(stored[name], fingerprint=fingerprint(part.fingerprint_key(), after[name]))
    return writer.commit(stores_of([shapes[name] for name in stored], stored), 4_000, expires_us)


def stores_of(shapes: Sequence[Shape], stored: Mapping[str, SetStored]) -> dict[str, StoreBase]:
    found: dict[str, StoreBase] = {}
    for store in dict.fromkeys(map(_store, shapes)):
        sets = {shape.set: stored[shape.set] for shape in shapes if _store(shape) == store}
        snapshot = Snapshot(5, 9, frozenset({6, 7}), 123) if store == "postgres" else None
        found[store] = StoreBase(store, 1_000, 77, snapshot, sets, {"version": "18", "sequences": {"a": 1}})
    return found


def all_items(part: TenantBackups, manifest: Manifest) -> dict[str, list[Item]]:
    return {
        name: list(part.items(manifest, store, name))
        for store, base in manifest.stores.items()
        for name in base.sets
    }


def _store(shape: Shape) -> str:
    return "postgres" if shape is NOTES or shape.set.startswith("public.") else "s3"


def counted(number: int) -> Iterator[Item]:
    """So many notes, never all in memory."""
    for one in range(number):
        yield note(one, hashlib.sha512(b"%d" % one).digest())
