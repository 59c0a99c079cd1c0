"""Our own reading of a certificate that we issued: whether everything of its bundle fits together.

Not a proof: it trusts our own keys and code. Others use the offline verifier, which shares nothing with this.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

from tenant_lifecycle.errors import IntegrityError, NotCertifiable
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.bundle import Bundle
from tenant_lifecycle.evidence.commitments import sha256_hex
from tenant_lifecycle.evidence.dsse import pae
from tenant_lifecycle.evidence.entries import CERTIFICATE, Entry
from tenant_lifecycle.evidence.keys import PublicKey
from tenant_lifecycle.evidence.merkle import inclusion_holds, leaf_hash
from tenant_lifecycle.model.erasure.certificate import PAYLOAD_TYPE, certificate_class


def problems(bundle: Bundle, signers: Sequence[PublicKey], origin: str, log_key: PublicKey) -> list[str]:
    """What does not fit, one sentence each; empty: all of it does."""
    try:
        return [
            *_signatures(bundle, signers),
            *_documents(bundle),
            *_class(bundle),
            *_log(bundle, origin, log_key),
        ]
    except (IntegrityError, ValueError, KeyError, TypeError) as exc:
        return [f"it cannot be read: {exc}"]


def _signatures(bundle: Bundle, signers: Sequence[PublicKey]) -> Iterator[str]:
    message = pae(PAYLOAD_TYPE, bundle.payload)
    given = {one["keyid"]: base64.b64decode(one["sig"]) for one in json.loads(bundle.envelope)["signatures"]}
    for key in signers:
        if key.keyid not in given or not key.verifies(given[key.keyid], message):
            yield f"it is not signed by key {key.keyid[:16]}, which is configured now"


def _documents(bundle: Bundle) -> Iterator[str]:
    subjects = {one["name"]: one["digest"]["sha256"] for one in json.loads(bundle.payload)["subject"]}
    for name, data in bundle.subjects.by_name().items():
        if subjects.get(name) != sha256_hex(data):
            yield f"{name} is not the document that was signed"


def _class(bundle: Bundle) -> Iterator[str]:
    said = bundle.predicate
    try:
        found = certificate_class(said)
    except NotCertifiable as exc:
        yield str(exc)
        return
    if found is not said.certificate_class:
        yield f"the systems make it {found}, and it says {said.certificate_class}"
    if bundle.opening is not None and bundle.opening.commitment != said.tenant_commitment:
        yield "it is another tenant's"


def _log(bundle: Bundle, origin: str, log_key: PublicKey) -> Iterator[str]:
    proof = bundle.proof
    entry = Entry.parse(proof.leaf)
    head = notes.read_head(proof.checkpoint, origin, log_key)
    if (entry.type, entry.digest, entry.seq) != (CERTIFICATE, bundle.digest, proof.index):
        yield "the audit log's entry is not that of this certificate"
    if not inclusion_holds(proof.index, head.size, leaf_hash(proof.leaf), proof.path, head.root):
        yield "the proof does not lead from the entry to the log's head"
