"""The office that issues certificates: keys and issuer of the installation, the audit log, the kept certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.certificates import Certificates, Kept
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.errors import ConfigError, IntegrityError, NotCertifiable
from tenant_lifecycle.evidence import certificate, reading
from tenant_lifecycle.evidence.bundle import Bundle
from tenant_lifecycle.evidence.commitments import sha256_hex
from tenant_lifecycle.evidence.keys import Role, Signer
from tenant_lifecycle.evidence.trust import trust_policy
from tenant_lifecycle.evidence_file import EvidenceConfig
from tenant_lifecycle.model.erasure.certificate import Issuer, rfc3339
from tenant_lifecycle.operations.erase.certifying import SET_KEYS
from tenant_lifecycle.operations.erase.facts import Identity, facts_of
from tenant_lifecycle.operations.erase.proceedings import Proceedings
from tenant_lifecycle.operations.erase.system_facts import subjects_of
from tenant_lifecycle.wiring.evidence import open_audit_log, open_signer

#: Who signs the audit log's entry.
_ACTOR = "engine"
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was issued."""

    id: str
    digest: str
    certificate_class: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What our own reading of a certificate came to."""

    id: str
    request_id: str
    certificate_class: str
    #: One sentence each; empty: everything fits together.
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Means:
    """What it takes to issue."""

    issuer: Issuer
    signers: Sequence[Signer]
    log: AuditLog


class CertificateOffice:
    """Issues certificates, and revokes them."""

    def __init__(self, db: ControlDatabase, evidence: EvidenceConfig) -> None:
        self._db = db
        self._evidence = evidence
        self.kept = Certificates(db)

    def issue(self, stage: str, found: Proceedings) -> Issued:
        """Issue the certificate of a stage, or give the one that it has.

        Raises:
            ConfigError, NotCertifiable, StoreError: see `Certifies.issue`.
        """
        means = self._means()
        kept = self.kept.numbered(found.request.id, found.operation_id, stage)
        if not (kept.signed(found.now) or _is_logged(kept, means.log)):
            kept = self._signed(kept, found, means)
        if kept.proof is None:
            kept = self._logged(kept, means)
        bundle = kept.bundle
        assert bundle is not None, "it is signed and logged"
        return Issued(kept.id, bundle.digest, bundle.predicate.certificate_class.value)

    def revoke(self, request_id: str, why: str, *, actor: str) -> int:
        """Declare every certificate of a request void; how many were not before."""
        return len(self.kept.revoke(request_id, why, actor=actor))

    def newest(self, request_id: str) -> Kept | None:
        """The request's newest certificate, revoked or not."""
        return next(reversed(self.kept.of_request(request_id)), None)

    def read(self, kept: Kept) -> Reading:
        """Read a certificate again with the keys that are configured now.

        Raises:
            ConfigError, StoreError: there are no keys, or they cannot be used.
        """
        means, bundle = self._means(), issued_bundle(kept)
        log_key = open_signer(Role.LOG, self._evidence).public
        required = [one.public for one in means.signers if one.role in certificate.REQUIRED]
        found = reading.problems(bundle, required, self._evidence.origin, log_key)
        if kept.revoked_at is not None:
            found.append(f"it was revoked: {kept.revoked_because}")
        return Reading(kept.id, kept.request_id, bundle.predicate.certificate_class.value, tuple(found))

    def trust_policy(self, *, valid_days: int) -> dict[str, Any]:
        """The policy that a customer starts from; keys count from the audit log's first entry on.

        Raises:
            ConfigError, StoreError: there are no keys, or they cannot be used.
        """
        means = self._means()
        signers = [*means.signers, open_signer(Role.LOG, self._evidence)]
        first, now = means.log.entries(limit=1), self._db.now()
        begins = first[0].entry.at_ms / 1000 if first else now
        policy = trust_policy(
            self._evidence.origin,
            [(one.role, one.public) for one in signers],
            valid_from=rfc3339(begins),
            valid_until=rfc3339(now + valid_days * _DAY_S),
        )
        return {**policy, "revoked_certificates": list(self.kept.revoked())}

    def _means(self) -> _Means:
        issuer, roles = self._evidence.issuer, (Role.PERFORMER, Role.VERIFIER, Role.LOG)
        missing = [role.value for role in roles if role.value not in self._evidence.keys]
        if missing:
            raise ConfigError(f"no keys for {', '.join(missing)}", next_step=SET_KEYS)
        if issuer is None:
            raise ConfigError("nobody is named as the issuer", next_step=SET_KEYS)
        signing = [role for role in Role if role is not Role.LOG and role.value in self._evidence.keys]
        return _Means(
            Issuer.model_validate(asdict(issuer)),
            [open_signer(role, self._evidence) for role in signing],
            open_audit_log(self._db, self._evidence),
        )

    def _signed(self, kept: Kept, found: Proceedings, means: _Means) -> Kept:
        first = means.log.entries(limit=1, operation_id=kept.request_id)
        if not first:
            raise IntegrityError(
                f"the audit log does not know request {kept.request_id}", next_step="tenantctl audit verify"
            )
        identity = Identity(
            kept.id,
            kept.supersedes,
            means.issuer,
            kept.opening.commitment,
            kept.actor_salt,
            first[0].entry.seq,
        )
        try:
            subjects = subjects_of(found)
            facts = facts_of(found, identity)
            envelope = certificate.sign(facts, subjects, kept.opening, means.signers, means.log.head())
        except ValueError as exc:
            raise NotCertifiable(f"what was found does not fit into a certificate: {exc}") from exc
        return self.kept.keep_signed(kept, envelope, subjects, found.now)

    def _logged(self, kept: Kept, means: _Means) -> Kept:
        proof = means.log.record_certificate(
            sha256_hex(kept.envelope or b""), actor=_ACTOR, tenant=kept.opening.tenant,
            operation_id=kept.request_id,
        )  # fmt: skip
        return self.kept.keep_proof(kept, proof)


def _is_logged(kept: Kept, log: AuditLog) -> bool:
    return kept.envelope is not None and log.holds_certificate(sha256_hex(kept.envelope), kept.request_id)


def issued_bundle(kept: Kept) -> Bundle:
    """The bundle of a certificate that was issued.

    Raises:
        IntegrityError: it was not.
    """
    if kept.bundle is None:
        raise IntegrityError(f"certificate {kept.id} was not issued")
    return kept.bundle
