"""Envoy's administration interface: read-only requests, answers as JSON."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable, UsageError


@dataclass(frozen=True, slots=True)
class Admin:
    """The interface of one Envoy; a connection per request, so any thread may ask."""

    #: ``http://127.0.0.1:9901``
    address: str
    router: str
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"router {self.router}: {self.address!r} is not like http://127.0.0.1:9901")

    def json(self, path: str, **query: str) -> Any:
        """The answer to a GET.

        Raises:
            StoreUnavailable: none within the time.
            StoreRejected: not the answer of an Envoy.
        """
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=self.timeout_s
        )
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            raise StoreUnavailable(
                f"router {self.router}: no answer from Envoy's administration interface: {exc}",
                store=self.router,
                next_step="start it; what is written down is in effect then",
            ) from exc
        finally:
            connection.close()
        if answer.status == 200:
            try:
                return json.loads(body) if body.strip() else {}
            except ValueError:
                pass
        raise StoreRejected(
            f"router {self.router}: {path} answered {answer.status} and is no Envoy's administration interface",
            store=self.router,
            next_step="admin: in lifecycle.yaml must be the address of Envoy's admin listener",
        )

    def stats(self, pattern: str, **query: str) -> list[dict[str, Any]]:
        """The entries whose names match; histograms come as one entry for all."""
        found: list[dict[str, Any]] = self.json("/stats", filter=pattern, format="json", **query).get(
            "stats", []
        )
        return found
