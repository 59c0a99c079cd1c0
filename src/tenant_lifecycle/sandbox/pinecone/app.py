"""The emulator's requests by method and path, as an ASGI application.

Indexes live under ``/index/NAME`` of one address, which `describe_index` gives as their host; where there is
only one index, its calls are also answered at the root. ``/_emulator`` is for whoever tests: faults and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, unquote

import orjson

from tenant_lifecycle.sandbox.pinecone.answers import Answer, BadRequest, NotFound, Refusal, Unauthorized
from tenant_lifecycle.sandbox.pinecone.faults import Faults, Trouble
from tenant_lifecycle.sandbox.pinecone.filters import BadFilter
from tenant_lifecycle.sandbox.pinecone.indexes import Index
from tenant_lifecycle.sandbox.pinecone.service import Query, Service

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_READING_POSTS = frozenset({"query", "describe_index_stats", "fetch_by_metadata"})


class App:
    """The application; ``file`` keeps accepted writes, so that a server that is started anew has them."""

    def __init__(self, address: str, faults: Faults, api_key: str = "", file: Path | None = None) -> None:
        self._service = Service(address)
        self._api_key = api_key
        self._trouble = Trouble(faults)
        self._counts: Counter[str] = Counter()
        self._file: IO[bytes] | None = None
        if file is not None:
            self._replay(file)
            self._file = file.open("ab")
        self._service.stale_s = faults.stale_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = await _read(receive)
        answer = await self._answer(scope, body)
        content = answer.encoded()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        method, path = scope["method"], scope.get("raw_path", b"").decode().partition("?")[0]
        if path.startswith("/_emulator"):
            return self._control(method, path, body)
        refused = await self._trouble.meet()
        self._counts[f"{method} {path}"] += 1
        if refused is not None:
            error = {"error": {"code": "UNAVAILABLE", "message": refused.message}}
            return Answer(error, refused.status, refused.headers)
        if self._api_key and dict(scope["headers"]).get(b"api-key", b"").decode() != self._api_key:
            return Unauthorized("invalid API key").answer()
        try:
            answer = self.perform(method, path, scope["query_string"].decode(), body)
        except Refusal as exc:
            return exc.answer()
        except (BadFilter, ValueError, TypeError, KeyError, AttributeError) as exc:
            return BadRequest(f"{type(exc).__name__}: {exc}").answer()
        self._keep(method, path, body)
        return answer

    def create_index_once(self, body: dict[str, Any]) -> None:
        """Create an index as a request would, unless there is one of that name."""
        if body["name"] not in self._service.indexes:
            content = orjson.dumps(body)
            self.perform("POST", "/indexes", "", content)
            self._keep("POST", "/indexes", content)

    def perform(self, method: str, path: str, query: str, content: bytes) -> Answer:
        """Do what the request says, at once."""
        body = orjson.loads(content) if content else {}
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "indexes":
            return self._index_call(method, parts[1:], body)
        if parts[0] == "index" and len(parts) > 2:
            index, parts = self._index(parts[1]), parts[2:]
        else:
            index = self._only_index()
        return self._data_call(
            index, method, parts, parse_qs(query, keep_blank_values=True), body, len(content)
        )

    def _index_call(self, method: str, names: list[str], body: dict[str, Any]) -> Answer:
        match method, names:
            case "POST", []:
                return self._service.create_index(body)
            case "GET", []:
                return self._service.list_indexes()
            case "GET", [name]:
                return self._service.describe_index(name)
            case "PATCH", [name]:
                return self._service.configure_index(name, body)
            case "DELETE", [name]:
                return self._service.delete_index(name)
        raise NotFound("no such path")

    def _data_call(
        self, index: Index, method: str, parts: list[str], query: Query, body: dict[str, Any], size: int
    ) -> Answer:
        service = self._service
        match method, parts:
            case "POST", ["vectors", "upsert"]:
                return service.upsert(index, body, size)
            case "POST", ["vectors", "update"]:
                return service.update(index, body)
            case "POST", ["vectors", "delete"]:
                return service.delete(index, body)
            case "POST", ["vectors", "fetch_by_metadata"]:
                return service.fetch_by_metadata(index, body)
            case "GET", ["vectors", "fetch"]:
                return service.fetch(index, query)
            case "GET", ["vectors", "list"]:
                return service.list(index, query)
            case "POST", ["query"]:
                return service.query(index, body)
            case "POST", ["describe_index_stats"]:
                return service.describe_index_stats(index, body)
            case "POST", ["namespaces"]:
                return service.create_namespace(index, body)
            case "GET", ["namespaces"]:
                return service.list_namespaces(index, query)
            case "GET", ["namespaces", name]:
                return service.describe_namespace(index, name)
            case "DELETE", ["namespaces", name]:
                return service.delete_namespace(index, name)
        raise NotFound("no such path")

    def _index(self, name: str) -> Index:
        if name not in self._service.indexes:
            raise NotFound("index not found")
        return self._service.indexes[name]

    def _only_index(self) -> Index:
        if len(self._service.indexes) != 1:
            raise NotFound("which index is meant cannot be told; use the host that describe_index gives")
        return next(iter(self._service.indexes.values()))

    # -- for whoever tests

    def _control(self, method: str, path: str, body: bytes) -> Answer:
        match method, path:
            case "GET", "/_emulator/faults":
                return Answer(self._trouble.faults.as_dict())
            case "POST", "/_emulator/faults":
                try:
                    self._trouble.set(self._trouble.faults.changed(orjson.loads(body)))
                except ValueError as exc:
                    return BadRequest(str(exc)).answer()
                self._service.stale_s = self._trouble.faults.stale_ms / 1000
                return Answer(self._trouble.faults.as_dict())
            case "GET", "/_emulator/requests":
                return Answer(dict(self._counts))
        return NotFound("no such path").answer()

    # -- what outlives the process

    def _keep(self, method: str, path: str, body: bytes) -> None:
        """Write an accepted change down; it survives a kill of the process, not a power cut."""
        if self._file is None or method == "GET" or path.rpartition("/")[2] in _READING_POSTS:
            return
        self._file.write(orjson.dumps([method, path, body.decode()]) + b"\n")
        self._file.flush()

    def _replay(self, file: Path) -> None:
        if not file.exists():
            return
        *lines, torn = file.read_bytes().split(b"\n")
        for line in lines:
            method, path, body = orjson.loads(line)
            self.perform(method, path, "", body.encode())
        if torn:
            file.write_bytes(b"".join(line + b"\n" for line in lines))


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body
