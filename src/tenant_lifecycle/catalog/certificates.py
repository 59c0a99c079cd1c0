"""Certificates in the control database: numbered, then signed, then in the audit log; maybe revoked later.

Each of these is written once and compared with what is there, so that two processes that issue the same one, or one
that was killed in between, end up with one certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from tenant_lifecycle.catalog import audit
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.erasure_tables import erasure_certificate, erasure_request
from tenant_lifecycle.catalog.operations import new_id
from tenant_lifecycle.evidence.bundle import Bundle, Subjects
from tenant_lifecycle.evidence.commitments import TenantOpening, new_salt, sha256_hex
from tenant_lifecycle.evidence.entries import Happening
from tenant_lifecycle.evidence.notes import TlogProof

#: Type of the audit log's entry that a certificate counts no more.
REVOKED = "certificate_revoked"
#: Signed so long ago and not in the log: it would be dated back, so another one is signed.
_STALE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate as it is kept."""

    id: str
    request_id: str
    operation_id: str
    stage: str
    supersedes: str | None
    opening: TenantOpening = field(repr=False)
    actor_salt: bytes = field(repr=False)
    #: None: not signed yet.
    signed_at: float | None
    envelope: bytes | None = field(repr=False)
    subjects: Subjects | None = field(repr=False)
    #: None: not issued yet.
    proof: TlogProof | None = field(repr=False)
    #: None: it counts, unless a newer one supersedes it.
    revoked_at: float | None = None
    revoked_because: str = ""

    @property
    def bundle(self) -> Bundle | None:
        """The certificate with everything to check it; None: it was not issued."""
        if self.envelope is None or self.subjects is None or self.proof is None:
            return None
        return Bundle(self.envelope, self.proof, self.subjects, self.opening)

    def signed(self, now: float) -> bool:
        """Whether it is signed, and recently enough to be put into the log."""
        return self.signed_at is not None and (self.proof is not None or now - self.signed_at < _STALE_S)


class Certificates:
    """The certificates in the control database."""

    def __init__(self, db: ControlDatabase) -> None:
        self._db = db

    def numbered(self, request_id: str, operation_id: str, stage: str) -> Kept:
        """The certificate of this stage; a new one supersedes the request's newest that was issued."""
        same = self._stage(operation_id, stage)
        values = {
            "id": "cert_" + new_id().removeprefix("op_"), "request_id": request_id,
            "operation_id": operation_id, "stage": stage, "salt": new_salt(), "actor_salt": new_salt(),
            "revoked_because": "",
        }  # fmt: skip
        try:
            with self._db.writing() as conn:
                if conn.execute(sa.select(erasure_certificate.c.id).where(same)).one_or_none() is None:
                    before = conn.execute(_newest(request_id)).scalar()
                    conn.execute(erasure_certificate.insert().values(supersedes=before, **values))
        except IntegrityError:
            # Somebody else numbered it in this moment.
            pass
        return self._one(same)

    def keep_signed(self, kept: Kept, envelope: bytes, subjects: Subjects, now: float) -> Kept:
        """Keep what was signed, unless somebody else's was kept meanwhile; what counts now."""
        unchanged = sa.and_(
            erasure_certificate.c.id == kept.id,
            erasure_certificate.c.proof.is_(None),
            erasure_certificate.c.signed_at.is_not_distinct_from(kept.signed_at),
        )
        documents = {"plan": subjects.plan, "inventory": subjects.inventory, "evidence": subjects.evidence}
        with self._db.writing() as conn:
            conn.execute(
                erasure_certificate.update()
                .where(unchanged)
                .values(envelope=envelope, signed_at=now, **documents)
            )
        return self._one(erasure_certificate.c.id == kept.id)

    def keep_proof(self, kept: Kept, proof: TlogProof) -> Kept:
        """Keep that it is in the audit log; from now on it is issued."""
        open_still = sa.and_(erasure_certificate.c.id == kept.id, erasure_certificate.c.proof.is_(None))
        with self._db.writing() as conn:
            conn.execute(erasure_certificate.update().where(open_still).values(proof=proof.text()))
        return self._one(erasure_certificate.c.id == kept.id)

    def of_request(self, request_id: str) -> Sequence[Kept]:
        """The certificates that were issued for a request, oldest first."""
        mine = sa.and_(
            erasure_certificate.c.request_id == request_id, erasure_certificate.c.proof.is_not(None)
        )
        with self._db.reading() as conn:
            return [_kept(row) for row in conn.execute(_select(mine))]

    def revoke(self, request_id: str, why: str, *, actor: str) -> Sequence[str]:
        """Declare every certificate of a request void that is not yet; their ids. The audit log says so of each."""
        open_still = sa.and_(
            erasure_certificate.c.request_id == request_id,
            erasure_certificate.c.proof.is_not(None),
            erasure_certificate.c.revoked_at.is_(None),
        )
        with self._db.writing() as conn:
            found = [_kept(row) for row in conn.execute(_select(open_still)).all()]
            values = {"revoked_at": self._db.clock(), "revoked_because": why}
            conn.execute(erasure_certificate.update().where(open_still).values(**values))
            for one in found:
                self._note(conn, one, why, actor)
        return [one.id for one in found]

    def revoked(self) -> Sequence[str]:
        """Ids of every certificate that was revoked, of every request."""
        query = sa.select(erasure_certificate.c.id).where(erasure_certificate.c.revoked_at.is_not(None))
        with self._db.reading() as conn:
            return list(conn.execute(query.order_by(erasure_certificate.c.id)).scalars())

    def _note(self, conn: Connection, kept: Kept, why: str, actor: str) -> None:
        happening = Happening(
            REVOKED, actor, tenant=kept.opening.tenant, operation_id=kept.request_id,
            digest=sha256_hex(kept.envelope or b""), detail={"reason": why},
        )  # fmt: skip
        audit.append(self._db, conn, happening)

    def _stage(self, operation_id: str, stage: str) -> sa.ColumnElement[bool]:
        return sa.and_(
            erasure_certificate.c.operation_id == operation_id, erasure_certificate.c.stage == stage
        )

    def _one(self, which: sa.ColumnElement[bool]) -> Kept:
        with self._db.reading() as conn:
            return _kept(conn.execute(_select(which)).one())


def _select(which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(erasure_certificate, erasure_request.c.tenant_id)
        .join(erasure_request, erasure_request.c.id == erasure_certificate.c.request_id)
        .where(which)
        .order_by(erasure_certificate.c.id)
    )


def _newest(request_id: str) -> sa.Select[Any]:
    mine = sa.and_(erasure_certificate.c.request_id == request_id, erasure_certificate.c.proof.is_not(None))
    return sa.select(erasure_certificate.c.id).where(mine).order_by(erasure_certificate.c.id.desc()).limit(1)


def _kept(row: Row[Any]) -> Kept:
    documents = (row.plan, row.inventory, row.evidence)
    return Kept(
        id=row.id,
        request_id=row.request_id,
        operation_id=row.operation_id,
        stage=row.stage,
        supersedes=row.supersedes,
        opening=TenantOpening(row.tenant_id, row.salt),
        actor_salt=row.actor_salt,
        signed_at=row.signed_at,
        envelope=row.envelope,
        subjects=None if row.envelope is None else Subjects(*documents),
        proof=None if row.proof is None else TlogProof.parse(row.proof),
        revoked_at=row.revoked_at,
        revoked_because=row.revoked_because,
    )
