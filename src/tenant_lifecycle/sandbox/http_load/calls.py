"""One request and its answer, with the manners of a careful client: it sends again what may be sent again, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from tenant_lifecycle.sandbox.ledger import Outcome


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be made."""

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    #: Whether it may be sent again when nobody knows if it arrived.
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, if anything did."""

    outcome: Outcome
    #: 0: nothing came back.
    status: int
    json: Any
    latency_ms: float
    attempts: int
    #: The environment that says it answered.
    served_by: str
    error: str = ""


class Caller:
    """One session's side of the wire: its connection, its headers, and the token of what it has seen."""

    def __init__(self, url: str, tenant: str, session: str, client: str, timeout_s: float) -> None:
        headers = {"x-tenant-id": quote(tenant, safe=""), "x-session-id": session, "x-api-client": client}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, trust_env=False)
        self._token: str | None = None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def send(self, call: Call, key: str | None = None) -> Answer:
        """Send it, again if its connection broke and that does no harm; ``key`` makes it the same request."""
        headers = {"idempotency-key": key} if key is not None else {}
        if self._token is not None:
            headers["x-read-token"] = self._token
        began, arrived, error = time.perf_counter(), False, ""
        for attempt in (1, 2):
            try:
                got = self._http.request(
                    call.method, call.path, json=call.json, params=call.params, headers=headers
                )
            except httpx.TransportError as exc:
                error = f"{call.method} {call.path}: {type(exc).__name__}: {exc}"
                never_sent = isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                arrived = arrived or not never_sent
                if attempt == 2 or isinstance(exc, httpx.TimeoutException):
                    break
                if not (call.repeatable or never_sent):
                    break
            else:
                return self._answer(call, got, (time.perf_counter() - began) * 1000, attempt)
        outcome = Outcome.UNKNOWN if arrived else Outcome.FAILED
        return Answer(outcome, 0, None, (time.perf_counter() - began) * 1000, attempt, "", error)

    def _answer(self, call: Call, got: httpx.Response, latency_ms: float, attempts: int) -> Answer:
        error, outcome = "", Outcome.ACK
        if got.status_code >= 400:
            error = f"{call.method} {call.path}: {got.status_code} {got.text[:200]}"
            outcome = Outcome.UNKNOWN if got.status_code >= 500 else Outcome.FAILED
        self._token = got.headers.get("x-read-token", self._token)
        json = got.json() if got.content and not error else None
        served_by = got.headers.get("x-served-by", "")
        return Answer(outcome, got.status_code, json, latency_ms, attempts, served_by, error)


class Taken:
    """Events of one tenant that were given to a consumer; shared by its sessions."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def again(self, ids: list[str]) -> list[str]:
        """Those that were given out before; from now on all of them were."""
        with self._lock:
            twice = [id for id in ids if id in self._seen]
            self._seen.update(ids)
        return twice
