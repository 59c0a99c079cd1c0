"""A certificate with everything that is needed to check it, as a folder of files.

::

    certificate.dsse.json     the signed statement
    inclusion.tlog-proof      that its digest is in the audit log, up to a signed head
    evidence/plan.json        the subjects of the statement; their digests stand in it
    evidence/inventory.json
    evidence/evidence.json
    tenant.json               opens the commitment to the tenant; for the tenant only
    certificate.html .pdf     for people; they hold the same envelope
    timestamp.tsr             a time-stamp, if one was asked for

No key lies in the bundle: whom to trust is the business of whoever checks it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from tenant_lifecycle.errors import IntegrityError
from tenant_lifecycle.evidence.commitments import TenantOpening, canonical, sha256_hex
from tenant_lifecycle.evidence.notes import TlogProof
from tenant_lifecycle.model.erasure.certificate import Predicate

ENVELOPE, PROOF, TIMESTAMP, TENANT = (
    "certificate.dsse.json",
    "inclusion.tlog-proof",
    "timestamp.tsr",
    "tenant.json",
)
HTML, PDF = "certificate.html", "certificate.pdf"


#: Name in the statement -> file in the bundle.
FILES = {
    "erasure-plan": "evidence/plan.json",
    "system-inventory": "evidence/inventory.json",
    "evidence-bundle": "evidence/evidence.json",
}


@dataclass(frozen=True, slots=True)
class Subjects:
    """The documents that the statement is about, as the bytes that were digested."""

    plan: bytes = field(repr=False)
    inventory: bytes = field(repr=False)
    evidence: bytes = field(repr=False)

    def by_name(self) -> dict[str, bytes]:
        """The documents by their names in the statement."""
        return dict(zip(FILES, (self.plan, self.inventory, self.evidence), strict=True))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A certificate that was issued."""

    envelope: bytes = field(repr=False)
    proof: TlogProof = field(repr=False)
    subjects: Subjects = field(repr=False)
    #: None in copies for others than the tenant.
    opening: TenantOpening | None = field(default=None, repr=False)
    #: RFC 3161 token over `time_stamped`; None: none was asked for.
    timestamp: bytes | None = field(default=None, repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the envelope, hex: what people compare."""
        return sha256_hex(self.envelope)

    @property
    def payload(self) -> bytes:
        """The signed statement.

        Raises:
            IntegrityError: the envelope is none.
        """
        try:
            return base64.b64decode(json.loads(self.envelope)["payload"], validate=True)
        except (ValueError, KeyError, TypeError) as exc:
            raise IntegrityError("the certificate is no DSSE envelope") from exc

    @property
    def predicate(self) -> Predicate:
        """What the certificate says. Reading proves nothing: only the offline verifier does.

        Raises:
            IntegrityError: it is not a certificate of this version.
        """
        try:
            return Predicate.model_validate_json(json.dumps(json.loads(self.payload)["predicate"]))
        except (ValidationError, ValueError, KeyError, TypeError) as exc:
            raise IntegrityError("the certificate's statement is not one of this version") from exc

    def without_tenant(self) -> Bundle:
        """The copy for auditors and others: it does not say who the tenant was."""
        return Bundle(self.envelope, self.proof, self.subjects, None, self.timestamp)

    def files(self) -> dict[str, bytes]:
        """The files that programs read, by name."""
        found = {ENVELOPE: self.envelope, PROOF: self.proof.text().encode()}
        found |= {FILES[name]: data for name, data in self.subjects.by_name().items()}
        if self.opening is not None:
            told = {"tenant": self.opening.tenant, "salt": self.opening.salt.hex()}
            found[TENANT] = canonical(told)
        if self.timestamp is not None:
            found[TIMESTAMP] = self.timestamp
        return found


def read(folder: Path) -> Bundle:
    """The bundle that `write` wrote. Reading proves nothing.

    Raises:
        IntegrityError: a file is missing or is not what its name says.
    """
    try:
        documents = [(folder / name).read_bytes() for name in FILES.values()]
        proof = TlogProof.parse((folder / PROOF).read_text(encoding="utf-8"))
        opening = _opening(folder / TENANT) if (folder / TENANT).exists() else None
        timestamp = (folder / TIMESTAMP).read_bytes() if (folder / TIMESTAMP).exists() else None
        return Bundle((folder / ENVELOPE).read_bytes(), proof, Subjects(*documents), opening, timestamp)
    except (OSError, ValueError) as exc:
        raise IntegrityError(f"{folder} holds no whole bundle of a certificate: {exc}") from exc


def write(bundle: Bundle, folder: Path, faces: dict[str, bytes]) -> list[Path]:
    """Write the bundle, and what people read, into a new or empty folder; the files written.

    Raises:
        FileExistsError: something is there already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    written = []
    for name, data in {**bundle.files(), **faces}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(path)
    return written


def _opening(path: Path) -> TenantOpening:
    told = json.loads(path.read_bytes())
    return TenantOpening(str(told["tenant"]), bytes.fromhex(told["salt"]))
