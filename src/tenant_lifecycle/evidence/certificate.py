"""Issuing a certificate: facts in, a signed and logged bundle out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tenant_lifecycle.errors import NotCertifiable
from tenant_lifecycle.evidence import bundle as bundles
from tenant_lifecycle.evidence import dsse, faces
from tenant_lifecycle.evidence.bundle import Bundle, Subjects
from tenant_lifecycle.evidence.commitments import TenantOpening, canonical, sha256_hex
from tenant_lifecycle.evidence.keys import Role, Signer
from tenant_lifecycle.evidence.notes import Head, TlogProof
from tenant_lifecycle.model.erasure.certificate import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    AuditReference,
    CertificateFacts,
    Predicate,
    predicate_of,
)

#: Who has to sign, each with a key of its own.
REQUIRED = (Role.PERFORMER, Role.VERIFIER)


class CertificateLog(Protocol):
    """What issuing needs of the audit log."""

    def head(self) -> Head:
        """Where the log ends now."""

    def record_certificate(
        self, digest: str, *, actor: str, tenant: str, operation_id: str = ""
    ) -> TlogProof:
        """Enter a certificate by its digest, and prove the entry up to a signed head."""


def issue(
    facts: CertificateFacts,
    subjects: Subjects,
    opening: TenantOpening,
    signers: Sequence[Signer],
    log: CertificateLog,
    *,
    actor: str,
    operation_id: str = "",
) -> Bundle:
    """Sign what the facts amount to and enter it in the log.

    Afterwards the log holds the certificate's digest; one that is not in the log is not valid.

    Raises:
        NotCertifiable, StoreError, ConfigError: as `sign`; or the log cannot be used.
    """
    envelope = sign(facts, subjects, opening, signers, log.head())
    proof = log.record_certificate(
        sha256_hex(envelope), actor=actor, tenant=opening.tenant, operation_id=operation_id
    )
    return Bundle(envelope, proof, subjects, opening)


def sign(
    facts: CertificateFacts, subjects: Subjects, opening: TenantOpening, signers: Sequence[Signer], head: Head
) -> bytes:
    """The signed envelope of what the facts amount to; ``head`` is where the audit log ends now.

    Raises:
        NotCertifiable: the facts allow no certificate, a signer is missing, facts and documents do not fit
            together, or the text would name the tenant.
        StoreError, ConfigError: a key cannot be used.
    """
    _refuse_signers(signers)
    if opening.commitment != facts.tenant_commitment:
        raise NotCertifiable("the commitment is not to the tenant that was given")
    _refuse_other_documents(facts, subjects)
    predicate = predicate_of(
        facts, AuditReference(log_origin=head.origin, tree_size=head.size, root_hash=head.root.hex())
    )
    payload = statement(predicate, subjects)
    _refuse_tenant(payload, opening.tenant)
    return dsse.envelope(PAYLOAD_TYPE, payload, signers)


def statement(predicate: Predicate, subjects: Subjects) -> bytes:
    """The in-toto statement, in canonical form."""
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": sha256_hex(data)}}
                for name, data in subjects.by_name().items()
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate.model_dump(mode="json"),
        }
    )


def read(folder: Path) -> Bundle:
    """A bundle from its folder. Reading proves nothing: that is what ``tenant-certificate-verify`` is for."""
    return bundles.read(folder)


def export(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a bundle with its pages for people into a new folder; the files written.

    Raises:
        FileExistsError: something is there already.
    """
    return bundles.write(
        bundle, folder, {bundles.HTML: faces.html_face(bundle), bundles.PDF: faces.pdf_face(bundle)}
    )


def _refuse_signers(signers: Sequence[Signer]) -> None:
    roles = [signer.role for signer in signers]
    keys = {signer.public.keyid for signer in signers}
    missing = [role.value for role in REQUIRED if role not in roles]
    if missing:
        raise NotCertifiable(f"nobody signs as {' and '.join(missing)}", next_step=_SET_KEYS)
    if len(keys) != len(signers) or len(set(roles)) != len(roles) or Role.LOG in roles:
        raise NotCertifiable("each role signs once, with a key of its own", next_step=_SET_KEYS)


_SET_KEYS = "name a key for each role in lifecycle.yaml under evidence.keys"


def _refuse_other_documents(facts: CertificateFacts, subjects: Subjects) -> None:
    plan = sha256_hex(subjects.plan)
    if any(approval.plan_digest != plan for approval in facts.authority.approvals):
        raise NotCertifiable("an approval is for another plan", next_step="have this plan approved")
    try:
        listed = json.loads(subjects.inventory)["systems"]
    except (ValueError, KeyError, TypeError) as exc:
        raise NotCertifiable('the inventory is no JSON object with "systems"') from exc
    if listed != list(facts.scope.inventory):
        raise NotCertifiable("the inventory's document lists other systems than the facts")


def _refuse_tenant(payload: bytes, tenant: str) -> None:
    """Refuse to sign what names the tenant: a certificate is shown to people who must not learn who it was."""
    if any(_names(text, tenant) for text in _texts(json.loads(payload))):
        raise NotCertifiable(
            "the certificate would name the tenant", next_step="put ids, counts and digests into the facts"
        )


#: A shorter id is looked for as a whole value only; inside a sentence it would be found in any word.
_SHORTEST_IN_TEXT = 3


def _names(text: str, tenant: str) -> bool:
    if len(tenant) < _SHORTEST_IN_TEXT:
        return text == tenant
    return re.search(rf"(?<!\w){re.escape(tenant)}(?!\w)", text) is not None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
