"""One HTTP request with the standard library: a status, a body of bounded size, and how long it took."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

#: More than this is not read.
MOST_BYTES = 1 << 20


class NoAnswer(Exception):
    """Nothing came back: refused, cut, or too late; the text says which and holds no address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    #: From sending to the end of the body.
    took_ms: float


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: a token must not follow it to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))


def send(
    url: str, timeout_s: float, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """GET, or POST with a body; any status is an answer.

    Raises:
        NoAnswer: nothing came back in time.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    began = time.perf_counter()
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            text = response.read(MOST_BYTES)
            status = response.status
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read(MOST_BYTES)
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise NoAnswer(type(reason).__name__ if isinstance(reason, Exception) else str(reason)) from exc
    return Answer(status, text, (time.perf_counter() - began) * 1e3)
