"""Reading a base: blocks in order, with the parents of a delta merged in, newest word first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from tenant_lifecycle.backups.index import read_index
from tenant_lifecycle.backups.listings import BlockEntry, entries
from tenant_lifecycle.backups.manifests import SetContents, Stored
from tenant_lifecycle.backups.packs import PackReader
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.rows import Chunks, Lying, Record, decode
from tenant_lifecycle.errors import RepositoryDamaged, UnknownBackup
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.manifest import BaseKind


class BaseReader:
    """Reads bases of one tenant, by the index as it was when this reader was made."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.index = read_index(place.storage, place.sealer, place.directory)
        self._packs = PackReader(place.storage, place.sealer, place.directory, self.index)

    def items(self, backup_id: str, store: str, set_name: str) -> Iterator[Item]:
        """Every item of the set, ordered by key, in bounded memory.

        Raises:
            UnknownBackup: no such base, or it has no such set.
            RepositoryDamaged: a block of it, or of a parent, is not as it was written.
        """
        layers = _layers(self.chain(backup_id), store, set_name)
        for record in _merged([(self._records(one.listings), self._records(one.gone)) for one in layers]):
            cells = tuple(self._cell(cell) for cell in record.cells or ())
            yield Item(set_name, record.key, cells, record.at_us)

    def chain(self, backup_id: str) -> list[Stored]:
        """The base and, while it is a delta, its parents; newest first."""
        found = [self._place.stored(backup_id)]
        while found[-1].manifest.kind is BaseKind.DELTA:
            parent = found[-1].manifest.parent
            try:
                found.append(self._place.stored(parent or ""))
            except UnknownBackup as exc:
                raise RepositoryDamaged(
                    f"{self._place.directory.manifest(parent or 'missing')}: is not there, and base "
                    f"{found[-1].manifest.id} is a delta of it",
                    next_step="bring it back from the other region, or restore from another base",
                ) from exc
        return found

    def references(self, stored: Stored) -> set[bytes]:
        """Every content that this manifest alone needs, its parents' left out; what a sweeper marks."""
        marked: set[bytes] = set()
        for contents in stored.contents.values():
            listings = (*contents.listings, *contents.gone)
            marked.update(listings)
            for entry in self._entries(listings):
                marked.add(entry.id)
                marked.update(entry.chunks)
        return marked

    def packs_of(self, stored: Stored) -> set[str]:
        """SHA-256 (hex) of every pack that this manifest alone needs."""
        located = (self.index.find(one) for one in self.references(stored))
        return {one.pack.sha256 for one in located if one is not None}

    def _entries(self, listings: Iterable[bytes]) -> Iterator[BlockEntry]:
        for listing in self._packs.all(listings):
            yield from entries(self._place.directory.path, listing)

    def _records(self, listings: Iterable[bytes]) -> Iterator[Record]:
        for block in self._packs.all(entry.id for entry in self._entries(listings)):
            yield from decode(self._place.directory.path, block)

    def _cell(self, cell: Lying) -> Cell:
        return b"".join(self._packs.all(cell.ids)) if isinstance(cell, Chunks) else cell


def _layers(chain: Sequence[Stored], store: str, set_name: str) -> list[SetContents]:
    """What says something about the set, newest first."""
    found: list[SetContents] = []
    for stored in chain:
        base = stored.manifest.stores.get(store)
        if base is None or set_name not in base.sets:
            break
        contents = stored.contents.get((store, set_name))
        if contents is not None:
            found.append(contents)
            if contents.whole:
                break
    if not found:
        raise UnknownBackup(
            f"backup {chain[0].manifest.id} has no set {set_name!r} of {store}",
            next_step="tenantctl backup list shows what each has",
        )
    return found


def _merged(layers: Sequence[tuple[Iterator[Record], Iterator[Record]]]) -> Iterator[Record]:
    """Of every key what the newest layer says; in one layer an item counts more than that its key is gone."""
    if len(layers) == 1:
        # Nothing can be gone from what is whole.
        yield from layers[0][0]
        return
    streams = [_ranked(rank, records) for rank, records in enumerate(one for pair in layers for one in pair)]
    for _, said in groupby(heapq.merge(*streams, key=itemgetter(0, 1)), key=itemgetter(0)):
        newest: int | None = None
        for _, rank, record in said:
            newest = rank if newest is None else newest
            if rank == newest and record.cells is not None:
                yield record


def _ranked(rank: int, records: Iterator[Record]) -> Iterator[tuple[bytes, int, Record]]:
    for record in records:
        yield record.key, rank, record
