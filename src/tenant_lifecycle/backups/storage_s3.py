"""A repository in a bucket of S3 or of a service that speaks it; only wiring imports this.

Objects are created with ``If-None-Match: *``: nothing is ever overwritten, whoever writes. Where the bucket keeps
versions, deleting removes every one of them, or a destroyed key would still be there.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from tenant_lifecycle.backups.naming import checked_name
from tenant_lifecycle.errors import ConfigError, RepositoryDamaged, RepositoryRejected, RepositoryUnavailable

_ABSENT = frozenset({"NoSuchKey", "404", "NoSuchVersion"})
_PASSING = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "503", "Throttling", "ThrottlingException", "TooManyRequests", "429",
        "RequestLimitExceeded", "OperationAborted", "RequestTimeout", "InternalError", "500", "502", "504",
    }
)  # fmt: skip
_NEXT_STEPS = {
    "NoSuchBucket": "create the bucket again, or correct its name",
    "AccessDenied": "give the credentials the rights to list, get, put and delete below the prefix",
    "QuotaExceeded": "raise the quota, then do it again; nothing that was stored is lost",
    "XMinioStorageFull": "make room, then do it again; nothing that was stored is lost",
    "InvalidObjectState": "bring the object back from its archive class first",
    "NotImplemented": "use a service that knows conditional writes (If-None-Match)",
}
#: Two writers met at one name and the service wants us to ask again.
_MET = frozenset({"ConditionalRequestConflict", "409"})
_ASK_AGAIN = 5


class S3Storage:
    """Objects of one bucket below one prefix."""

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        """``client`` is boto3's; ``prefix`` is empty or ends with a slash."""
        self.where = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = prefix
        self._client = client

    @classmethod
    def from_settings(cls, bucket: str, prefix: str, settings: Mapping[str, str]) -> S3Storage:
        """With ``endpoint``, ``region``, ``profile``, ``access_key`` and ``secret_key``, each if it is given.

        Raises:
            ConfigError: they make no client.
        """
        given = {name: value or None for name, value in settings.items()}
        endpoint = given.get("endpoint")
        try:
            session = boto3.session.Session(
                aws_access_key_id=given.get("access_key"), aws_secret_access_key=given.get("secret_key"),
                profile_name=given.get("profile"), region_name=given.get("region") or ("us-east-1" if endpoint else None),
            )  # fmt: skip
            client = session.client("s3", endpoint_url=endpoint, config=_config(endpoint is not None))
        except (aws.BotoCoreError, ValueError) as exc:
            raise ConfigError(f"the repository in bucket {bucket}: {type(exc).__name__}") from exc
        return cls(bucket, prefix.strip("/") + "/" if prefix.strip("/") else "", client)

    def put(self, name: str, data: bytes) -> bool:
        """Create it; False if that name is taken."""
        checked_name(name, self.where)
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        for attempt in range(_ASK_AGAIN):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=data,
                    IfNoneMatch="*",
                    ContentMD5=digest,
                )
                return True
            except aws.ClientError as exc:
                code = _code(exc)
                if code in ("PreconditionFailed", "412"):
                    return False
                if code not in _MET or attempt == _ASK_AGAIN - 1:
                    raise self._ours(exc, name) from exc
            except (aws.BotoCoreError, OSError) as exc:
                raise self._ours(exc, name) from exc
            time.sleep(0.05 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Its bytes, or as many of them as were asked for; never fewer."""
        checked_name(name, self.where)
        if length == 0:
            return b""
        asked: dict[str, str] = {}
        if offset or length is not None:
            asked["Range"] = f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))
        with self._translating(name):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, **asked)
            found: bytes = answer["Body"].read()
        if length is not None and len(found) != length:
            raise RepositoryDamaged(f"{name}: ends at byte {offset + len(found)}, there should be more")
        return found

    def names(self, prefix: str, after: str = "") -> Iterator[tuple[str, int, float]]:
        """Name, size and modification time, in order of names."""
        asked = {"StartAfter": self._prefix + after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, **asked
        )
        with self._translating(prefix):
            for page in pages:
                for one in page.get("Contents", ()):
                    yield one["Key"].removeprefix(self._prefix), one["Size"], one["LastModified"].timestamp()

    def delete(self, name: str) -> None:
        """Remove it with every version of it; safe to repeat."""
        key = self._prefix + checked_name(name, self.where)
        with self._translating(name):
            self._client.delete_object(Bucket=self._bucket, Key=key)
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=key
            )
            for page in pages:
                for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    # The prefix finds longer names as well.
                    if one["Key"] == key:
                        self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=one["VersionId"])

    @contextmanager
    def _translating(self, name: str) -> Iterator[None]:
        try:
            yield
        except (aws.BotoCoreError, aws.ClientError, OSError) as exc:
            raise self._ours(exc, name) from exc

    def _ours(
        self, error: Exception, name: str
    ) -> RepositoryDamaged | RepositoryRejected | RepositoryUnavailable:
        if isinstance(
            error, aws.NoCredentialsError | aws.PartialCredentialsError | aws.CredentialRetrievalError
        ):
            return RepositoryRejected(
                f"{self.where}: no credentials were found", where=self.where,
                next_step="give access_key and secret_key, a profile, or a role",
            )  # fmt: skip
        if not isinstance(error, aws.ClientError):
            return RepositoryUnavailable(
                f"{self.where}: no answer for {name} ({type(error).__name__})",
                where=self.where,
                next_step="try again",
            )
        code = _code(error)
        if code in _ABSENT:
            return RepositoryDamaged(f"{name}: is not in the repository {self.where}")
        if code in ("InvalidRange", "416"):
            return RepositoryDamaged(f"{name}: is shorter than it should be")
        if code in _PASSING or code in _MET:
            return RepositoryUnavailable(
                f"{self.where}: {name} was put off ({code})", where=self.where, next_step="try again"
            )
        return RepositoryRejected(
            f"{self.where}: {name} was refused ({code})",
            where=self.where,
            next_step=_NEXT_STEPS.get(code, ""),
        )


def _code(error: aws.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _config(compatible: bool) -> Config:
    return Config(
        connect_timeout=3, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4},
        # Compatible services often know nothing of trailing checksums; ours carry Content-MD5.
        request_checksum_calculation="when_required", s3={"addressing_style": "path"} if compatible else {},
    )  # fmt: skip
