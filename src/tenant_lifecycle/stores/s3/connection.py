"""Reaching an S3 service: the client made from a store's settings, and its errors turned into ours.

No text of the service's answers goes into our errors: they repeat keys. A code and the operation's name do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from tenant_lifecycle.errors import ConfigError, StoreBusy, StoreError, StoreRejected, StoreUnavailable

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 10
#: Requests that may be under way at once; the pools of threads here are smaller.
CONNECTIONS = 40

#: What the service says when it wants us to slow down, or when two writes of one key met.
_BUSY = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "503", "Throttling", "ThrottlingException", "TooManyRequests", "429",
        "RequestLimitExceeded", "OperationAborted", "RequestTimeout", "BandwidthLimitExceeded",
    }
)  # fmt: skip
_DOWN = frozenset({"InternalError", "500", "502", "504", "BadGateway", "GatewayTimeout"})
#: There is no such object or version, or what is there is a delete marker.
_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404", "405", "MethodNotAllowed", "NoSuchUpload"})
_CHANGED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_NEXT_STEPS = {
    "NoSuchBucket": "create the bucket, or correct its name in lifecycle.yaml",
    "AccessDenied": "give the credentials the rights that docs/stores/s3.md lists",
    "403": "give the credentials the rights that docs/stores/s3.md lists",
    "RequestTimeTooSkewed": "synchronise this machine's clock with NTP",
    "InvalidAccessKeyId": "correct access_key in lifecycle.yaml",
    "SignatureDoesNotMatch": "correct secret_key in lifecycle.yaml",
    "InvalidObjectState": "restore archived objects first",
}


class Absent(Exception):
    """What was asked for is not there (any more)."""


class Changed(Exception):
    """The condition of a request did not hold: somebody else wrote in between."""


class Call(Protocol):
    """One operation of a client: keywords as in the API reference, and the parsed answer."""

    def __call__(self, **parameters: object) -> Mapping[str, Any]: ...


class Settings:
    """What a store's section of the configuration says; never shows a secret."""

    def __init__(self, store: str, settings: Mapping[str, str]) -> None:
        if not settings.get("bucket"):
            raise ConfigError(f"store {store} has no bucket", next_step="give it one in lifecycle.yaml")
        if bool(settings.get("access_key")) != bool(settings.get("secret_key")):
            raise ConfigError(
                f"store {store} has one of access_key and secret_key",
                next_step="give both, or neither: then the usual places are searched (environment, profile, role)",
            )
        self.bucket = settings["bucket"]
        self.endpoint = settings.get("endpoint") or None
        self.region = settings.get("region", "")
        #: Buckets that hold copies of this one's objects; an erasure covers them.
        self.replicas = tuple(one.strip() for one in settings.get("replicas", "").split(",") if one.strip())
        #: Whether an erasure may set retention in governance mode aside.
        self.bypass_governance = settings.get("bypass_governance", "").lower() in ("yes", "true")
        self._settings = dict(settings)

    def __repr__(self) -> str:
        return f"Settings(bucket={self.bucket!r}, endpoint={self.endpoint!r})"

    def client(self, store: str) -> object:
        """A client of its own, safe to use from several threads; nothing is sent yet.

        Raises:
            ConfigError: the profile is not there, or the region or endpoint has no meaning.
        """
        given = self._settings
        try:
            session = boto3.session.Session(
                aws_access_key_id=given.get("access_key") or None,
                aws_secret_access_key=given.get("secret_key") or None,
                profile_name=given.get("profile") or None,
                region_name=given.get("region") or ("us-east-1" if self.endpoint else None),
            )
            return cast("object", session.client("s3", endpoint_url=self.endpoint, config=self._config()))
        except (aws.BotoCoreError, ValueError) as exc:
            raise ConfigError(f"store {store}: {type(exc).__name__}: its settings cannot be used") from exc

    def _config(self) -> Config:
        return Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 4},
            # Compatible services often know nothing of trailing checksums; parts carry Content-MD5.
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path"} if self.endpoint else {},
        )


@contextmanager
def translating(store: str, operation: str) -> Iterator[None]:
    """Turn errors of the client into ours, most specific first.

    Raises:
        Absent: no such key, version or upload.
        Changed: a condition did not hold.
        StoreError: everything else.
    """
    try:
        yield
    except aws.ClientError as exc:
        raise _translated(store, operation, str(exc.response.get("Error", {}).get("Code", ""))) from exc
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError) as exc:
        raise StoreRejected(
            f"{store}: no credentials were found", store=store,
            next_step="give access_key and secret_key, a profile, or a role",
        ) from exc  # fmt: skip
    except aws.ParamValidationError as exc:
        raise StoreRejected(f"{store}: {operation} cannot be asked with such a value", store=store) from exc
    except (aws.BotoCoreError, OSError) as exc:
        raise StoreUnavailable(
            f"{store}: no answer to {operation} ({type(exc).__name__})", store=store,
            next_step="it is tried again; look whether the endpoint is reachable",
        ) from exc  # fmt: skip


def _translated(store: str, operation: str, code: str) -> Exception:
    if code in _ABSENT:
        return Absent(code)
    if code in _CHANGED:
        return Changed(code)
    if code in _BUSY:
        return StoreBusy(
            f"{store}: {operation} was put off ({code})", store=store, next_step="it is tried again"
        )
    if code in _DOWN:
        return StoreUnavailable(f"{store}: {operation} failed inside the service ({code})", store=store)
    return StoreRejected(
        f"{store}: {operation} was refused ({code})", store=store, next_step=_NEXT_STEPS.get(code, "")
    )


def is_refusal(error: StoreError, code: str) -> bool:
    """Whether the service refused with that code."""
    return isinstance(error, StoreRejected) and f"({code})" in str(error)
