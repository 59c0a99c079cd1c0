"""The audit log as people and auditors use it: read, prove, sign its heads, watch it, redact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.tables import audit_checkpoint, audit_entry, audit_head
from tenant_lifecycle.errors import ConfigError, IntegrityError, UnknownOperation
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.entries import CERTIFICATE, REDACTED, Entry, Happening, Opening
from tenant_lifecycle.evidence.keys import PublicKey, Signer
from tenant_lifecycle.evidence.merkle import Node, consistency_proof, inclusion_proof
from tenant_lifecycle.evidence.monitor import Review, Stored, review
from tenant_lifecycle.evidence.notes import Head, TlogProof

#: Rows per read when the whole log is gone through.
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed head, as it is kept."""

    size: int
    at_ms: int
    note: str


class AuditLog:
    """The log of one control database, under one name (its origin)."""

    def __init__(self, db: ControlDatabase, origin: str, signer: Signer | None = None) -> None:
        """``signer`` signs heads; without it everything works that needs no new head."""
        self._db = db
        self.origin = origin
        self._signer = signer

    @property
    def key(self) -> PublicKey | None:
        """The key that its heads are checked with; None: no key is configured."""
        return None if self._signer is None else self._signer.public

    def append(self, happening: Happening) -> Entry:
        """Append in a transaction of its own."""
        with self._db.writing() as conn:
            return audit.append(self._db, conn, happening)

    def head(self) -> Head:
        """Where the log ends now."""
        with self._db.reading() as conn:
            size = int(conn.execute(sa.select(audit_head.c.size)).scalar_one())
            return Head(self.origin, size, audit.frontier_at(conn, size).root())

    def entries(self, *, after: int = -1, limit: int = 100, operation_id: str | None = None) -> list[Stored]:
        """Entries after number ``after``, oldest first.

        Raises:
            IntegrityError: one cannot be read.
        """
        query = (
            sa.select(audit_entry).where(audit_entry.c.seq > after).order_by(audit_entry.c.seq).limit(limit)
        )
        if operation_id is not None:
            query = query.where(audit_entry.c.operation_id == operation_id)
        with self._db.reading() as conn:
            return [_stored(row) for row in conn.execute(query)]

    def newest(self, limit: int, *, operation_id: str | None = None) -> list[Stored]:
        """The last entries, oldest first."""
        query = sa.select(audit_entry).order_by(audit_entry.c.seq.desc()).limit(limit)
        if operation_id is not None:
            query = query.where(audit_entry.c.operation_id == operation_id)
        with self._db.reading() as conn:
            return [_stored(row) for row in conn.execute(query)][::-1]

    def all(self) -> Iterator[Stored]:
        """Every entry, page by page; those appended meanwhile too."""
        after = -1
        while page := self.entries(after=after, limit=_PAGE):
            yield from page
            after = page[-1].entry.seq

    def checkpoint(self) -> Checkpoint:
        """Sign the log's head as it is now, if that was not done; the newest checkpoint.

        Raises:
            ConfigError: no key is configured for the log.
            StoreError: the key cannot be used, or the database does not answer.
        """
        if self._signer is None:
            raise ConfigError("no key signs the audit log's heads", next_step=_SET_KEY)
        head, newest = self.head(), self.newest_checkpoint()
        if newest is not None and newest.size >= head.size:
            return newest
        note = notes.sign_head(head, self._signer)
        with self._db.writing() as conn:
            there = conn.execute(
                sa.select(audit_checkpoint).where(audit_checkpoint.c.size == head.size)
            ).one_or_none()
            if there is None:
                at_ms = int(conn.execute(sa.select(self._db.clock())).scalar_one() * 1000)
                conn.execute(audit_checkpoint.insert().values(size=head.size, at_ms=at_ms, note=note))
                return Checkpoint(head.size, at_ms, note)
        return Checkpoint(**there._mapping)

    def newest_checkpoint(self) -> Checkpoint | None:
        """The newest signed head; None: nothing was signed yet."""
        kept = self.checkpoints(limit=1)
        return kept[0] if kept else None

    def checkpoints(self, *, limit: int = 100_000) -> list[Checkpoint]:
        """Signed heads, newest first."""
        with self._db.reading() as conn:
            rows = conn.execute(
                sa.select(audit_checkpoint).order_by(audit_checkpoint.c.size.desc()).limit(limit)
            )
            return [Checkpoint(**row._mapping) for row in rows]

    def proof(self, seq: int) -> TlogProof:
        """That entry ``seq`` is in the log, up to a checkpoint that is signed now if none covers it.

        Raises:
            ValueError: there is no such entry.
            ConfigError, StoreError: as `checkpoint`.
        """
        newest = self.newest_checkpoint()
        if newest is None or newest.size <= seq:
            newest = self.checkpoint()
        with self._db.reading() as conn:
            path = inclusion_proof(seq, newest.size, _Nodes(conn))
            leaf = conn.execute(sa.select(audit_entry.c.leaf).where(audit_entry.c.seq == seq)).scalar_one()
        return TlogProof(seq, path, newest.note, str(leaf).encode())

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """That the first ``old`` entries are still the beginning of the first ``new``.

        Raises:
            ValueError: the log never had those sizes in that order.
        """
        size = self.head().size
        if new > size:
            raise ValueError(f"the log has {size} entries, not {new}")
        with self._db.reading() as conn:
            return consistency_proof(old, new, _Nodes(conn))

    def record_certificate(
        self, digest: str, *, actor: str, tenant: str, operation_id: str = ""
    ) -> TlogProof:
        """Enter a certificate by its digest, unless that was done for the operation before, and prove the entry."""
        entry = self._certificate(digest, operation_id)
        if entry is None:
            entry = self.append(Happening(CERTIFICATE, actor, tenant, operation_id, digest=digest))
        return self.proof(entry.seq)

    def holds_certificate(self, digest: str, operation_id: str) -> bool:
        """Whether a certificate was entered for an operation."""
        return self._certificate(digest, operation_id) is not None

    def _certificate(self, digest: str, operation_id: str) -> Entry | None:
        if not operation_id:
            return None
        entries = (one.entry for one in self.entries(limit=_PAGE, operation_id=operation_id))
        return next((one for one in entries if (one.type, one.digest) == (CERTIFICATE, digest)), None)

    def review(self, outside: Sequence[str] = ()) -> Review:
        """Read the whole log and compare it with every signed head.

        ``outside``: checkpoints that somebody kept elsewhere; only those can show that the end was cut off.

        Raises:
            IntegrityError: a checkpoint is not signed by the log's key, or an entry cannot be read.
        """
        kept = self.checkpoints()
        heads = [self._read(note) for note in (*outside, *(one.note for one in kept))]
        signed_at = kept[0].at_ms if kept else 0
        return review(self.all(), heads, signed_at_ms=signed_at, now_ms=int(self._db.now() * 1000))

    def redact(self, operation_id: str, *, actor: str, reason: str) -> int:
        """Erase salt and opening of every entry about an operation; proofs stay. Returns how many there were.

        An entry says that it was done. Afterwards nobody can show, or guess, whom those entries were about.

        Raises:
            UnknownOperation: the log says nothing of it, or nothing that is still open.
        """
        with self._db.writing() as conn:
            erased = conn.execute(
                audit_entry.update()
                .where(audit_entry.c.operation_id == operation_id, audit_entry.c.salt.is_not(None))
                .values(salt=None, opening=None)
            ).rowcount
            if not erased:
                raise UnknownOperation(
                    f"the audit log holds nothing open about {operation_id!r}",
                    next_step="tenantctl audit list",
                )
            detail = {"entries": erased, "reason": reason, "operation": operation_id}
            audit.append(self._db, conn, Happening(REDACTED, actor, detail=detail))
        return erased

    def _read(self, note: str) -> Head:
        if self._signer is None:
            raise ConfigError("no key checks the audit log's heads", next_step=_SET_KEY)
        return notes.read_head(note, self.origin, self._signer.public)


_SET_KEY = "tenantctl audit new-key FILE, and name the file in lifecycle.yaml under evidence.keys.log"


class _Nodes:
    """Hashes of subtrees, read when they are asked for."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def __call__(self, node: Node) -> bytes:
        found = audit.nodes_at(self._conn, (node,))
        if node not in found:
            raise IntegrityError("the audit log does not hold what a proof needs", next_step=audit.LOOK)
        return found[node]


def _stored(row: Row[Any]) -> Stored:
    entry = Entry.parse(row.leaf.encode())
    if (entry.seq, entry.operation_id, entry.stream, entry.after) != (
        row.seq,
        row.operation_id,
        row.stream,
        row.after,
    ):
        raise IntegrityError(f"entry {row.seq} of the audit log is filed as what it is not")
    opening = None if row.salt is None or row.opening is None else Opening(row.salt, **row.opening)
    return Stored(entry, audit.split_nodes(row.nodes), opening)
