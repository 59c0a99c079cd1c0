"""A signing key that never leaves AWS KMS: ECDSA P-256 (``ECC_NIST_P256``) with SHA-256.

KMS's Ed25519 keys sign at most 4096 bytes, less than a certificate has; they are refused.
"""

from __future__ import annotations

import hashlib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tenant_lifecycle.errors import ConfigError, StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.evidence.keys import Algorithm, PublicKey, Role

STORE = "kms"
#: KMS's limit.
_MOST_RAW_BYTES = 4096


class KmsSigner:
    """A key in KMS, by id, ARN or alias."""

    def __init__(self, role: Role, key_id: str, client: Any) -> None:
        """``client`` is boto3's; the public half is read once, now.

        Raises:
            ConfigError: it is a key of another kind.
            StoreError: KMS does not answer, or refuses.
        """
        self.role = role
        self._key_id = key_id
        self._client = client
        spki = bytes(self._call("get_public_key", KeyId=key_id)["PublicKey"])
        key = serialization.load_der_public_key(spki)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ConfigError(
                f"the KMS key {key_id} is no ECDSA P-256 key",
                next_step="make a key with the usage SIGN_VERIFY of the kind ECC_NIST_P256",
            )
        self.public = PublicKey(Algorithm.ECDSA_P256, spki)

    def sign(self, message: bytes) -> bytes:
        """The signature, DER. KMS takes short messages whole, and of long ones their SHA-256."""
        short = len(message) <= _MOST_RAW_BYTES
        answer = self._call(
            "sign",
            KeyId=self._key_id,
            Message=message if short else hashlib.sha256(message).digest(),
            MessageType="RAW" if short else "DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )
        return bytes(answer["Signature"])

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, name)(**arguments)
        except (ClientError, BotoCoreError) as exc:
            raise _ours(exc, self._key_id) from exc
        return answer


def _ours(error: ClientError | BotoCoreError, key_id: str) -> StoreError:
    if not isinstance(error, ClientError):
        text = type(error).__name__
        return StoreUnavailable(f"KMS: {text}", store=STORE, next_step="see whether KMS can be reached")
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    if code in ("ThrottlingException", "KMSInternalException", "DependencyTimeoutException"):
        return StoreUnavailable(f"KMS: {code}", store=STORE, next_step="try again")
    return StoreRejected(
        f"KMS refuses the key {key_id}: {code}", store=STORE, next_step="check the key's id, state and policy"
    )
