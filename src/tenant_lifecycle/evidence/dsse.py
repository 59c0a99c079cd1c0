"""DSSE envelopes: signatures over exact bytes and their type, so nothing has to be put in canonical form to check.

https://github.com/secure-systems-lab/dsse: what is signed is ``PAE(type, payload)``; ``keyid`` names a key and is
no reason to trust it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tenant_lifecycle.evidence.commitments import canonical
from tenant_lifecycle.evidence.keys import Signer


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(payload_type: str, payload: bytes, signers: Sequence[Signer]) -> bytes:
    """The envelope's JSON text, signatures in the order of the signers.

    Raises:
        StoreError: a key cannot be used.
    """
    message = pae(payload_type, payload)
    signatures = [
        {"keyid": signer.public.keyid, "sig": base64.b64encode(signer.sign(message)).decode()}
        for signer in signers
    ]
    return canonical(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": signatures,
        }
    )
