"""One cluster over HTTP: requests, and the errors of this product for whatever goes wrong.

Index names go into paths, where the server would expand ``*``, ``,`` and ``<...>``: only names that the server listed
itself are put there, and it allows none of these in a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from tenant_lifecycle.errors import StoreBusy, StoreRejected, StoreUnavailable

TIMEOUT_S = 30.0
_BUSY = frozenset({409, 429, 503})


@dataclass
class Cluster:
    """A connection, shared by threads."""

    #: For people and errors: ``blue/search``.
    name: str
    url: str
    #: Sent as it is: ``ApiKey ...`` or ``Basic ...``; "" for a cluster without security.
    authorization: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": self.authorization} if self.authorization else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> Any:
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: str | int) -> Any:
        return self.ask("POST", path, body=body, params=params)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        absent: Any = None,
    ) -> Any:
        """The answer's JSON; ``absent`` for 404.

        Raises:
            StoreUnavailable: no answer. StoreBusy: it says to come back. StoreRejected: it says no.
        """
        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as exc:
            raise StoreUnavailable(f"{self.name}: {type(exc).__name__}", store=self.name) from exc
        if answer.status_code == 404:
            return absent
        if answer.status_code in _BUSY:
            raise StoreBusy(f"{self.name}: HTTP {answer.status_code}", store=self.name)
        if answer.status_code >= 400:
            said = f"{self.name}: HTTP {answer.status_code} to {method} of {_kind(path)}"
            raise StoreRejected(said, store=self.name, next_step="check the credentials and their privileges")
        return answer.json() if answer.content else {}

    def exists(self, index: str) -> bool:
        return self.ask("GET", at(index, "_settings"), absent=False) is not False


def at(index: str, *rest: str) -> str:
    """The path of something of an index."""
    return "/".join(("", quote(index, safe=""), *rest))


def _kind(path: str) -> str:
    """The part of a path that names nobody."""
    return next((part for part in path.split("/") if part.startswith("_")), "an index")
