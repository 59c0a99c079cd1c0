"""Packs: write-once objects of 16 MiB in which contents lie, each found by a keyed hash of its bytes.

A content is stored once in a tenant, however often it is referred to. Its id is HMAC-SHA256 with the tenant's key, so
equal contents of two tenants have nothing in common, and nobody without the key can ask whether some bytes are there.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.index import Index, Located, PackContents
from tenant_lifecycle.backups.keys import KeyRing
from tenant_lifecycle.backups.naming import Directory, content_digest
from tenant_lifecycle.backups.sealing import (
    ID_BYTES,
    Kind,
    Opening,
    Placed,
    Sealer,
    Sealing,
    blocks_of,
    read_header,
)  # fmt: skip
from tenant_lifecycle.errors import RepositoryDamaged

PACK_BYTES = 16 << 20
_NO_ID = bytes(ID_BYTES)
#: Neighbours in a pack are fetched together, up to so many bytes.
_FETCH_BYTES = 4 << 20


def content_id(id_key: bytes, content: bytes) -> bytes:
    """The content's name inside its tenant and key epoch."""
    return hmac.digest(id_key, content, hashlib.sha256)


class PackWriter:
    """Contents become packs; several threads may add."""

    def __init__(
        self, storage: Storage, sealer: Sealer, keys: KeyRing, directory: Directory,
        known: Index, dead: frozenset[str], pack_bytes: int = PACK_BYTES,
    ) -> None:  # fmt: skip
        self._storage = storage
        self._sealer = sealer
        self._id_key = keys.subkey("id")
        self._directory = directory
        self._known = known
        self._dead = dead
        self._pack_bytes = pack_bytes
        self._lock = threading.Lock()
        self._open: Sealing | None = None
        self._placed: list[Placed] = []
        self._new: dict[bytes, int] = {}
        #: Finished in this base.
        self.packs: list[PackContents] = []
        #: Packs of earlier bases that this one refers to.
        self.reused: set[str] = set()

    def add(self, content: bytes) -> tuple[bytes, int]:
        """The content's id, and how many bytes it takes in its pack, whoever put it there."""
        wanted = content_id(self._id_key, content)
        with self._lock:
            if wanted in self._new:
                return wanted, self._new[wanted]
            found = self._known.find(wanted)
            if found is not None and found.pack.sha256 not in self._dead:
                self.reused.add(found.pack.sha256)
                return wanted, found.block.length
            return wanted, self._store(wanted, content)

    def finish(self) -> None:
        """Store the pack that is not full yet."""
        with self._lock:
            self._close()

    def _store(self, wanted: bytes, content: bytes) -> int:
        if self._open is None:
            self._open = self._sealer.begin(Kind.PACK, "", ids=True)
        placed = self._open.add(content, wanted)
        self._placed.append(placed)
        self._new[wanted] = placed.length
        if self._open.size >= self._pack_bytes:
            self._close()
        return placed.length

    def _close(self) -> None:
        if self._open is None:
            return
        self._open.add(b"".join(one.id for one in self._placed), _NO_ID, last=True)
        data = self._open.data()
        digest = hashlib.sha256(data).hexdigest()
        self._storage.put(self._directory.pack(digest), data)
        self.packs.append(PackContents(digest, len(data), self._open.header, tuple(self._placed)))
        self._open, self._placed = None, []


class PackReader:
    """Contents come back out of packs."""

    def __init__(self, storage: Storage, sealer: Sealer, directory: Directory, index: Index) -> None:
        self._storage = storage
        self._sealer = sealer
        self._directory = directory
        self._index = index
        self._openings: dict[str, Opening] = {}

    def get(self, wanted: bytes) -> bytes:
        """One content. Raises `RepositoryDamaged` with the name of its pack."""
        return next(self.all([wanted]))

    def all(self, wanted: Iterable[bytes]) -> Iterator[bytes]:
        """Each of them, in the order asked for; a few MiB in memory."""
        for run in self._runs(wanted):
            try:
                found = self._fetched(run)
            except RepositoryDamaged as exc:
                found = [self._from_elsewhere(one, exc) for one in run]
            yield from found

    def _fetched(self, run: list[Located]) -> list[bytes]:
        first, last = run[0].block, run[-1].block
        name = self._directory.pack(run[0].pack.sha256)
        data = self._storage.get(name, first.offset, last.offset + last.length - first.offset)
        begins = [one.block.offset - first.offset for one in run]
        return [
            self._opened(name, one, data[begin : begin + one.block.length])
            for begin, one in zip(begins, run, strict=True)
        ]

    def _from_elsewhere(self, one: Located, error: RepositoryDamaged) -> bytes:
        """The content from wherever it opens; the error if that is nowhere."""
        for place in (one, *self._index.elsewhere(one.block.id)):
            with suppress(RepositoryDamaged):
                return self._fetched([place])[0]
        raise error

    def _runs(self, wanted: Iterable[bytes]) -> Iterator[list[Located]]:
        run: list[Located] = []
        for content in wanted:
            one = self._located(content)
            if run and not _follows(run, one):
                yield run
                run = []
            run.append(one)
        if run:
            yield run

    def _located(self, content: bytes) -> Located:
        found = self._index.find(content)
        if found is None:
            raise RepositoryDamaged(
                f"{self._directory.path}: no index knows where content {content.hex()} is",
                next_step="bring index/ back from the other region",
            )
        return found

    def _opened(self, name: str, one: Located, stored: bytes) -> bytes:
        if stored[4 : 4 + ID_BYTES] != one.block.id:
            raise RepositoryDamaged(
                f"{name}: block {one.block.number} is another content than the index says"
            )
        if name not in self._openings:
            header, _ = read_header(name, one.pack.header)
            self._openings[name] = self._sealer.opening(Kind.PACK, name, header)
        return self._openings[name].block(one.block.number, stored)


def _follows(run: list[Located], one: Located) -> bool:
    first, last = run[0], run[-1]
    return (
        one.pack.sha256 == first.pack.sha256
        and one.block.offset == last.block.offset + last.block.length
        and one.block.offset + one.block.length - first.block.offset <= _FETCH_BYTES
    )


def check_pack(sealer: Sealer, keys: KeyRing, name: str, data: bytes) -> PackContents:
    """Open every block of a pack and compute its contents' ids; also what an index has to say about it.

    Raises:
        RepositoryDamaged: a byte of it is not what was written.
    """
    *contents, footer = sealer.open(Kind.PACK, name, data)
    header, begins = read_header(name, data)
    *placed, end = blocks_of(name, data)
    id_key = keys.subkey("id", header.epoch)
    for one, content in zip(placed, contents, strict=True):
        if content_id(id_key, content) != one.id:
            raise RepositoryDamaged(f"{name}: block {one.number} is another content than it says")
    if end.id != _NO_ID or footer != b"".join(one.id for one in placed):
        raise RepositoryDamaged(f"{name}: its list of contents is another one than it has")
    return PackContents(content_digest(name), len(data), data[:begins], tuple(placed))
