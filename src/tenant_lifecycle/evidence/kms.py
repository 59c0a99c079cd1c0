"""A signing key that never leaves AWS KMS.

``ECC_NIST_P256`` keys sign the SHA-256 that we compute; ``ECC_NIST_EDWARDS25519`` keys sign the message itself,
which KMS limits to 4096 bytes, so what is longer is refused here with a plain word.
"""

from __future__ import annotations

import hashlib
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tenant_lifecycle.errors import ConfigError, StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.evidence.keys import Algorithm, PublicKey, Role

STORE = "kms"
#: KMS's name of a key's kind -> how it signs.
_ALGORITHMS = {"ECC_NIST_P256": Algorithm.ECDSA_P256, "ECC_NIST_EDWARDS25519": Algorithm.ED25519}
_MOST_RAW_BYTES = 4096


class KmsSigner:
    """A key in KMS, by id, ARN or alias."""

    def __init__(self, role: Role, key_id: str, client: Any) -> None:
        """``client`` is boto3's; the public half is read once, now.

        Raises:
            ConfigError: the key cannot sign, or signs in a way we do not know.
            StoreError: KMS does not answer, or refuses.
        """
        self.role = role
        self._key_id = key_id
        self._client = client
        answer = self._call("get_public_key", KeyId=key_id)
        kind = str(answer.get("KeySpec", ""))
        if answer.get("KeyUsage") != "SIGN_VERIFY" or kind not in _ALGORITHMS:
            known = " or ".join(_ALGORITHMS)
            raise ConfigError(
                f"the KMS key {key_id} is of kind {kind}", next_step=f"make a SIGN_VERIFY key of kind {known}"
            )
        self.public = PublicKey(_ALGORITHMS[kind], bytes(answer["PublicKey"]))

    def sign(self, message: bytes) -> bytes:
        """The signature: DER of an ECDSA key, 64 bytes of an Ed25519 key."""
        if self.public.algorithm is Algorithm.ECDSA_P256:
            return self._sign("DIGEST", "ECDSA_SHA_256", hashlib.sha256(message).digest())
        if len(message) > _MOST_RAW_BYTES:
            raise StoreRejected(
                f"KMS signs at most {_MOST_RAW_BYTES} bytes with an Ed25519 key, this has {len(message)}",
                store=STORE,
                next_step="use a key of kind ECC_NIST_P256",
            )
        return self._sign("RAW", "ED25519_SHA_512", message)

    def _sign(self, kind: str, algorithm: str, message: bytes) -> bytes:
        answer = self._call(
            "sign", KeyId=self._key_id, Message=message, MessageType=kind, SigningAlgorithm=algorithm
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
