"""Manifests in the control database: what goes, batch by batch, and what became of each batch.

Keys of items may be personal, so their content is encrypted with a key of the operation. When the operation is over
the key is destroyed; counts and digests stay.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Row

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.erasure_tables import erasure_batch, erasure_key, erasure_residue
from tenant_lifecycle.catalog.holds import sign_off
from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.erasure.manifest import Batch, Method, SetCount, digest_of
from tenant_lifecycle.stores.erasing import Erased

_NONCE = 12


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch with its place in the manifest."""

    number: int
    batch: Batch
    erased: bool


@dataclass(frozen=True, slots=True)
class Frozen:
    """What one system's manifest came to."""

    sets: tuple[SetCount, ...]
    digest: str
    batches: int


class Manifests:
    """The manifests in the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def freeze(self, operation_id: str, number: int, system: str, batches: Iterable[Batch]) -> Frozen:
        """Write the manifest of one system for round ``number``; what an attempt before left is replaced."""
        cipher = self._cipher(operation_id, make=True)
        of_system = self._of(operation_id, number, system)
        with self._db.writing() as conn:
            conn.execute(erasure_batch.delete().where(of_system, erasure_batch.c.erased_at.is_(None)))
        for position, batch in enumerate(batches):
            values = {
                "operation_id": operation_id, "round": number, "system": system, "number": position,
                "set_name": batch.set, "method": batch.method, "items": len(batch.keys), "bytes": batch.bytes,
                "digest": batch.digest(), "deleted": 0, "gone": 0, "refused": {},
                "content": _sealed(cipher, _packed(batch.keys), f"{operation_id}/{number}/{system}/{position}"),
            }  # fmt: skip
            with self._db.writing() as conn:
                conn.execute(erasure_batch.insert().values(**values))
        return self.frozen(operation_id, number, system)

    def frozen(self, operation_id: str, number: int, system: str) -> Frozen:
        """Counts by set in the order of deletion, and the digest."""
        columns = [erasure_batch.c[name] for name in ("set_name", "method", "items", "bytes", "digest")]
        query = sa.select(*columns).where(self._of(operation_id, number, system))
        with self._db.reading() as conn:
            rows = conn.execute(query.order_by(erasure_batch.c.number)).all()
        sets: dict[tuple[str, str], SetCount] = {}
        for row in rows:
            before = sets.get((row.set_name, row.method))
            items, size = (before.items, before.bytes) if before else (0, 0)
            sets[row.set_name, row.method] = SetCount(
                row.set_name, Method(row.method), items + row.items, size + row.bytes
            )
        return Frozen(tuple(sets.values()), digest_of(row.digest for row in rows), len(rows))

    def batches(self, operation_id: str, number: int, system: str) -> Iterator[StoredBatch]:
        """The batches in the order of deletion.

        Raises:
            InvariantViolated: the key is destroyed, or a batch is not what was frozen.
        """
        cipher = self._cipher(operation_id)
        position = 0
        while True:
            query = sa.select(erasure_batch).where(
                self._of(operation_id, number, system), erasure_batch.c.number == position
            )
            with self._db.reading() as conn:
                row = conn.execute(query).one_or_none()
            if row is None:
                return
            yield StoredBatch(position, _batch_of(cipher, row), row.erased_at is not None)
            position += 1

    def erased(
        self, operation_id: str, number: int, system: str, position: int, token: int, result: Erased
    ) -> None:
        """Note what one call did, and sign it off, in one transaction."""
        refused: dict[str, Any] = {}
        for one in result.refused:
            known = refused.setdefault(one.code, {"items": 0, "until": None, "dated": True})
            known["items"] += 1
            known["dated"] &= one.until is not None
            known["until"] = max(filter(None, (known["until"], one.until)), default=None)
        changes = {"deleted": result.deleted, "gone": result.gone, "refused": refused}
        with self._db.writing() as conn:
            conn.execute(
                erasure_batch.update()
                .where(self._of(operation_id, number, system), erasure_batch.c.number == position)
                .values(erased_at=self._db.clock(), **changes)
            )
            sign_off(conn, operation_id, token)

    def destroyed(self, operation_id: str) -> Mapping[str, int]:
        """Items deleted so far, by system."""
        query = (
            sa.select(erasure_batch.c.system, sa.func.sum(erasure_batch.c.deleted))
            .where(erasure_batch.c.operation_id == operation_id)
            .group_by(erasure_batch.c.system)
        )
        with self._db.reading() as conn:
            return {row[0]: int(row[1]) for row in conn.execute(query)}

    def totals(self, operation_id: str, number: int, system: str) -> tuple[int, int]:
        """Items deleted, and items that were gone already."""
        query = sa.select(sa.func.sum(erasure_batch.c.deleted), sa.func.sum(erasure_batch.c.gone)).where(
            self._of(operation_id, number, system)
        )
        with self._db.reading() as conn:
            deleted, gone = conn.execute(query).one()
        return int(deleted or 0), int(gone or 0)

    def refused(self, operation_id: str, number: int, system: str) -> list[Mapping[str, Any]]:
        """What the system would not delete: per batch, by its own word for it."""
        query = sa.select(erasure_batch.c.refused).where(self._of(operation_id, number, system))
        with self._db.reading() as conn:
            return [row.refused for row in conn.execute(query) if row.refused]

    def keep_residue(self, operation_id: str, look: str, system: str, found: list[Mapping[str, Any]]) -> None:
        """Keep what a look found, names of places included, encrypted like the manifest."""
        cipher = self._cipher(operation_id, make=True)
        content = _sealed(cipher, json.dumps(found).encode(), f"{operation_id}/{look}/{system}")
        same = sa.and_(
            erasure_residue.c.operation_id == operation_id,
            erasure_residue.c.look == look,
            erasure_residue.c.system == system,
        )
        with self._db.writing() as conn:
            conn.execute(erasure_residue.delete().where(same))
            conn.execute(
                erasure_residue.insert().values(
                    operation_id=operation_id, look=look, system=system, content=content
                )
            )

    def residue(self, operation_id: str, look: str) -> Mapping[str, list[Mapping[str, Any]]]:
        """What a look found, by system."""
        query = sa.select(erasure_residue).where(
            erasure_residue.c.operation_id == operation_id, erasure_residue.c.look == look
        )
        with self._db.reading() as conn:
            rows = conn.execute(query.order_by(erasure_residue.c.system)).all()
        if not rows:
            return {}
        cipher = self._cipher(operation_id)
        return {
            row.system: json.loads(_opened(cipher, row.content, f"{operation_id}/{look}/{row.system}"))
            for row in rows
        }

    def shred(self, operation_id: str) -> None:
        """Destroy the operation's key, and with it whatever names an item. Safe to repeat."""
        with self._db.writing() as conn:
            conn.execute(erasure_key.delete().where(erasure_key.c.operation_id == operation_id))
            conn.execute(erasure_residue.delete().where(erasure_residue.c.operation_id == operation_id))
            conn.execute(
                erasure_batch.update()
                .where(erasure_batch.c.operation_id == operation_id)
                .values(content=None)
            )

    def _of(self, operation_id: str, number: int, system: str) -> sa.ColumnElement[bool]:
        return sa.and_(
            erasure_batch.c.operation_id == operation_id,
            erasure_batch.c.round == number,
            erasure_batch.c.system == system,
        )

    def _cipher(self, operation_id: str, *, make: bool = False) -> AESGCM:
        mine = sa.select(erasure_key.c.key).where(erasure_key.c.operation_id == operation_id)
        with self._db.writing() as conn:
            key = conn.execute(mine).scalar()
            if key is None and make:
                key = AESGCM.generate_key(256)
                conn.execute(erasure_key.insert().values(operation_id=operation_id, key=key))
        if key is None:
            raise InvariantViolated(f"the key of the manifest of {operation_id} is destroyed")
        return AESGCM(key)


def _batch_of(cipher: AESGCM, row: Row[Any]) -> Batch:
    name = f"{row.operation_id}/{row.round}/{row.system}/{row.number}"
    keys = _unpacked(_opened(cipher, row.content, name))
    batch = Batch(row.set_name, Method(row.method), keys, row.bytes)
    if batch.digest() != row.digest:
        raise InvariantViolated(f"batch {name} is not the one that was frozen; nothing of it was deleted")
    return batch


def _sealed(cipher: AESGCM, plain: bytes, name: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + cipher.encrypt(nonce, zlib.compress(plain, 1), name.encode())


def _opened(cipher: AESGCM, sealed: bytes, name: str) -> bytes:
    return zlib.decompress(cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode()))


def _packed(keys: Iterable[bytes]) -> bytes:
    return b"".join(len(key).to_bytes(8, "big") + key for key in keys)


def _unpacked(packed: bytes) -> tuple[bytes, ...]:
    keys, position = [], 0
    while position < len(packed):
        size = int.from_bytes(packed[position : position + 8], "big")
        keys.append(packed[position + 8 : position + 8 + size])
        position += 8 + size
    return tuple(keys)
