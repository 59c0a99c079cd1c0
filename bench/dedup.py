"""What thirty daily bases of a tenant take, when 2 % of its rows change each day: bytes, not time.

Rows are changed at random, as in life, and some are added. Ours is stored in two ways: every day a full base (blocks
that did not change are stored once), and every day a delta of the rows that changed, as the change log gives them,
with a full base each week. The peers store the same rows: one compressed and encrypted file a day, as `pg_dump -Fc` to a
bucket, and that file's plain text cut into chunks of 1 MiB that are stored once, as restic, Borg and Kopia do.
Both have neither fingerprints nor an index; they are computed here, with the same compressor.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import zstandard

from bench.report import Budget, Figure, Report
from tenant_lifecycle.backups.chunks import cut
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.packs import content_id
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TenantId

ROWS, DAYS, CHURN, ADDED = 40_000, 30, 0.02, 0.001
NOTES = Shape(
    "public.notes", (Column("id", "bigint"), Column("title", "text"), Column("body", "text")), ("id",)
)
Rows = dict[bytes, Item]


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    rows, days = (1_000, 4) if quick else (ROWS, DAYS)
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-") as name:
        full, delta = (_part(Path(name) / side) for side in ("full", "delta"))
        dumps, chunked = _Dumps(), _Chunked()
        parent: Manifest | None = None
        for day, (table, changed) in enumerate(_days(rows, days)):
            _store_full(full, table)
            weekly = day % 7 == 0 or parent is None
            parent = _store_full(delta, table) if weekly else _store_delta(delta, parent, table, changed)
            text = b"\n".join(b"\t".join(filter(None, item.cells)) for item in table.values())
            dumps.add(text)
            chunked.add(text)
            progress(f"day {day + 1} of {days}: {_stored(full):,} full, {_stored(delta):,} deltas")
        _check(delta, parent, table)
        figures = (
            _figure("a delta each day, a full base each week", _stored(delta), dumps.stored, "a compressed dump each day", Budget("ratio", "at most", 0.3)),
            _figure("a delta each day, a full base each week (chunks)", _stored(delta), chunked.stored, "chunks of the dump, stored once", Budget("ratio", "at most", 0.3)),
            _figure("a full base each day", _stored(full), dumps.stored, "a compressed dump each day"),
            _figure("a full base each day (chunks)", _stored(full), chunked.stored, "chunks of the dump, stored once"),
        )  # fmt: skip
        extras = {"rows": rows, "days": days, "churn": CHURN, "added": ADDED, "dump_bytes": len(text)}
    return Report("dedup", figures, extras)


class _Dumps:
    """One compressed file a day."""

    def __init__(self) -> None:
        self.stored = 0

    def add(self, text: bytes) -> None:
        self.stored += len(zstandard.ZstdCompressor(level=3).compress(text)) + 28


class _Chunked:
    """Chunks of the text, each stored once."""

    def __init__(self) -> None:
        self.stored = 0
        self._seen: set[bytes] = set()

    def add(self, text: bytes) -> None:
        for piece in cut(b"k" * 32, text):
            name = content_id(b"i" * 32, piece)
            if name not in self._seen:
                self._seen.add(name)
                self.stored += len(zstandard.ZstdCompressor(level=3).compress(piece)) + 28


def _figure(name: str, ours: int, peer: int, peer_name: str, *budgets: Budget) -> Figure:
    return Figure(name, "MB", ours / 1e6, peer / 1e6, peer_name, "lower", budgets)


def _part(folder: Path) -> TenantBackups:
    storage = FolderStorage.create(folder)
    return Repository.create(storage, LocalWrapping(os.urandom(32))).tenant(TenantId("bench"))


def _days(rows: int, days: int) -> Iterator[tuple[Rows, Mapping[bytes, Item]]]:
    """The table on each day, and what changed since the day before."""
    dice = random.Random(11)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(5_000)]
    table = {item.key: item for item in (_row(dice, words, number) for number in range(rows))}
    yield dict(table), {}
    for _ in range(days - 1):
        touched = dice.sample(range(len(table)), int(len(table) * CHURN))
        touched += range(len(table), len(table) + int(rows * ADDED))
        changed = {item.key: item for item in (_row(dice, words, number) for number in touched)}
        table |= changed
        yield dict(table), changed


def _row(dice: random.Random, words: list[str], number: int) -> Item:
    title, body = dice.choice(words), " ".join(dice.choices(words, k=dice.randint(10, 60)))
    return Item(NOTES.set, b"%d" % number, (b"%d" % number, title.encode(), body.encode()))


def _store_full(part: TenantBackups, table: Rows) -> Manifest:
    writer = part.begin_base("bench", BaseKind.FULL, None, {})
    return writer.commit(_stores(writer.add("postgres", NOTES, table.values())), 1, None)


def _store_delta(
    part: TenantBackups, parent: Manifest | None, table: Rows, changed: Mapping[bytes, Item]
) -> Manifest:
    writer = part.begin_base("bench", BaseKind.DELTA, parent.id if parent else None, {})
    added = writer.add("postgres", NOTES, changed.values())
    whole = fingerprint(part.fingerprint_key(), table.values())
    return writer.commit(
        _stores(SetStored(NOTES, whole, added.raw_bytes, added.stored_bytes)), 1, None
    )  # fmt: skip


def _stores(stored: SetStored) -> Mapping[str, StoreBase]:
    return {"postgres": StoreBase("postgres", 1, 1, None, {NOTES.set: stored})}


def _stored(part: TenantBackups) -> int:
    """Bytes of everything, keys, indexes and manifests as well."""
    return sum(size for _, size, _ in part.place.storage.names(""))


def _check(part: TenantBackups, newest: Manifest | None, table: Rows) -> None:
    """The newest base, six deltas deep or not, is the table."""
    assert newest is not None
    found = part.items(newest, "postgres", NOTES.set)
    if list(found) != sorted(table.values(), key=lambda item: item.key):
        raise AssertionError("the newest base is not what was stored")
