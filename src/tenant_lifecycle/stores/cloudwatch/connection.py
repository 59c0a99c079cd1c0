"""Reaching CloudWatch Logs: the client made from a store's settings, and its errors turned into ours.

No text of the service's answers goes into our errors: they repeat names of groups and streams.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from tenant_lifecycle.errors import ConfigError, StoreBusy, StoreRejected, StoreUnavailable

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 15
_BUSY = frozenset(
    {
        "ThrottlingException", "Throttling", "LimitExceededException", "OperationAbortedException",
        "ServiceUnavailableException", "RequestLimitExceeded", "503", "429",
    }
)  # fmt: skip
_DOWN = frozenset({"InternalFailure", "InternalServerError", "500", "502", "504"})
#: A shared stream that was written to within so many seconds is not rewritten.
QUIET_S = 600.0
#: What ``old_lines`` says for: throw them away.
DROP = "drop"


class Absent(Exception):
    """There is no such group or stream (any more)."""


class Logs:
    """The log service of one environment. Safe to use from several threads; connects on first use."""

    def __init__(self, store: str, settings: Mapping[str, str]) -> None:
        if bool(settings.get("access_key")) != bool(settings.get("secret_key")):
            raise ConfigError(
                f"store {store} has one of access_key and secret_key",
                next_step="give both, or neither: then the usual places are searched (environment, profile, role)",
            )
        #: For people: ``blue/logs``.
        self.store = store
        self.quiet_s = _seconds(store, settings.get("quiet", ""))
        old = settings.get("old_lines", "")
        #: Whether lines that are too old to be put again may be thrown away; else the folder they go to, if any.
        self.drops_old = old == DROP
        self.old_lines = Path(old) if old and old != DROP else None
        self._settings = dict(settings)
        self._client: Any = None
        self._lock = threading.Lock()

    def call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Ask for an operation by its name in Python (``get_log_events``).

        Raises:
            Absent: no such group or stream.
            StoreError: no answer, or a refusal.
        """
        try:
            answer: Mapping[str, Any] = getattr(self._opened(), operation)(**parameters)
        except aws.ClientError as exc:
            raise self._translated(operation, str(exc.response.get("Error", {}).get("Code", ""))) from exc
        except aws.ParamValidationError as exc:
            raise StoreRejected(
                f"{self.store}: {operation} cannot be asked with such a value", store=self.store
            ) from exc
        except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError) as exc:
            raise StoreRejected(
                f"{self.store}: no credentials were found", store=self.store,
                next_step="give access_key and secret_key, a profile, or a role",
            ) from exc  # fmt: skip
        except (aws.BotoCoreError, OSError) as exc:
            raise StoreUnavailable(
                f"{self.store}: no answer to {operation} ({type(exc).__name__})", store=self.store,
                next_step="it is tried again; look whether the endpoint is reachable",
            ) from exc  # fmt: skip
        return answer

    def pages(self, operation: str, result: str, **parameters: object) -> Iterator[Mapping[str, Any]]:
        """Everything of a listing, page by page."""
        while True:
            answer = self.call(operation, **parameters)
            yield from answer.get(result, ())
            token = answer.get("nextToken")
            if not token:
                return
            parameters["nextToken"] = token

    def close(self) -> None:
        """Give back connections; safe to repeat."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _opened(self) -> Any:
        given = self._settings
        with self._lock:
            if self._client is None:
                try:
                    session = boto3.session.Session(
                        aws_access_key_id=given.get("access_key") or None,
                        aws_secret_access_key=given.get("secret_key") or None,
                        profile_name=given.get("profile") or None,
                        region_name=given.get("region") or ("us-east-1" if given.get("endpoint") else None),
                    )
                    retries = {"mode": "standard", "total_max_attempts": 4}
                    config = Config(
                        connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries=retries
                    )
                    self._client = session.client(
                        "logs", endpoint_url=given.get("endpoint") or None, config=config
                    )
                except (aws.BotoCoreError, ValueError) as exc:
                    raise ConfigError(
                        f"store {self.store}: {type(exc).__name__}: its settings cannot be used"
                    ) from exc
            return self._client

    def _translated(self, operation: str, code: str) -> Exception:
        if code == "ResourceNotFoundException":
            return Absent(code)
        if code in _BUSY:
            return StoreBusy(
                f"{self.store}: {operation} was put off ({code})",
                store=self.store,
                next_step="it is tried again",
            )
        if code in _DOWN:
            return StoreUnavailable(
                f"{self.store}: {operation} failed inside the service ({code})", store=self.store
            )
        step = (
            "give the credentials the rights that docs/stores/cloudwatch.md lists" if "Denied" in code else ""
        )
        return StoreRejected(
            f"{self.store}: {operation} was refused ({code})", store=self.store, next_step=step
        )


def _seconds(store: str, text: str) -> float:
    if not text:
        return QUIET_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"store {store}: quiet is seconds, not {text!r}", next_step="quiet: 600")
    return seconds
