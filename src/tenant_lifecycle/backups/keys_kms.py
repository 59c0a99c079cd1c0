"""Tenant keys wrapped by a key that never leaves AWS KMS; only wiring imports this.

The context of a wrap is KMS's encryption context: it is authenticated, and stands in the log of KMS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tenant_lifecycle.backups.keys import Tampered
from tenant_lifecycle.errors import KeyUnavailable, RepositoryError, RepositoryRejected, RepositoryUnavailable

_GONE = frozenset(
    {"NotFoundException", "DisabledException", "KMSInvalidStateException", "KeyUnavailableException"}
)
_PASSING = frozenset(
    {"ThrottlingException", "KMSInternalException", "DependencyTimeoutException", "LimitExceededException"}
)
_TAMPERED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsWrapping:
    """A symmetric key in KMS, by id, ARN or alias."""

    def __init__(self, key_id: str, client: Any) -> None:
        """``client`` is boto3's. The key's ARN is asked for now: an alias may point elsewhere tomorrow.

        Raises:
            RepositoryError: KMS does not answer, or there is no such key.
        """
        self._client = client
        self._asked = key_id
        self._arn = str(self._call("describe_key", KeyId=key_id)["KeyMetadata"]["Arn"])
        self.id = f"kms:{self._arn}"

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        answer = self._call("encrypt", KeyId=self._arn, Plaintext=secret, EncryptionContext=dict(context))
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        answer = self._call(
            "decrypt", KeyId=self._arn, CiphertextBlob=wrapped, EncryptionContext=dict(context)
        )
        return bytes(answer["Plaintext"])

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, name)(**arguments)
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", "unknown"))
            if code in _TAMPERED:
                raise Tampered from exc
            raise self._ours(code) from exc
        except (BotoCoreError, OSError) as exc:
            raise RepositoryUnavailable(
                f"KMS: no answer ({type(exc).__name__})",
                where="kms",
                next_step="see whether KMS can be reached",
            ) from exc
        return answer

    def _ours(self, code: str) -> RepositoryError:
        if code in _PASSING:
            return RepositoryUnavailable(f"KMS: {code}", where="kms", next_step="try again")
        if code in _GONE:
            return KeyUnavailable(
                f"KMS: the key {self._asked} cannot be used: {code}", where="kms",
                next_step="enable the key, or cancel its deletion; a deleted one is gone for good",
            )  # fmt: skip
        return RepositoryRejected(
            f"KMS refuses the key {self._asked}: {code}", where="kms",
            next_step="give the credentials kms:Encrypt, kms:Decrypt and kms:DescribeKey on it",
        )  # fmt: skip
