"""An emulator of the few routes of Elasticsearch that the plug-in uses: it tests our client, not the product.

What it takes from the documentation: a search sees what was refreshed; ``_delete_by_query`` works on what a search
sees and counts a *version conflict* for a document that was written since; a deleted document stays in its segment
until a merge; a listing hides hidden indices unless asked; a field of type text is cut into words.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: What a user may read.
EVERYTHING = "*"
Answer = tuple[int, Any]


@dataclass
class Index:
    properties: dict[str, Any] = field(default_factory=dict)
    #: Seen by a search; by id: (version, source).
    seen: dict[str, tuple[int, Any]] = field(default_factory=dict)
    now: dict[str, tuple[int, Any]] = field(default_factory=dict)
    #: Deleted documents that no merge took away.
    marked: int = 0
    without_source: bool = False


@dataclass
class EmulatedCluster:
    """The state behind the routes."""

    indices: dict[str, Index] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, list[str]] = field(default_factory=dict)
    #: Password -> names of indices that it may read; absent security if empty.
    users: dict[str, set[str]] = field(default_factory=dict)
    writers: set[str] = field(default_factory=set)
    #: Documents that somebody writes in the middle of a ``_delete_by_query``, and how many times still.
    written_meanwhile: dict[str, int] = field(default_factory=dict)
    #: Ids that cannot be deleted: an entry in ``failures``.
    broken: set[str] = field(default_factory=set)
    failing_shards: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._versions = itertools.count(1)
        self._reads: dict[str, tuple[str, list[Any], int]] = {}
        self._lock = threading.RLock()

    def create(self, name: str, **types: str) -> Index:
        self.indices[name] = Index({one: {"type": kind} for one, kind in types.items()})
        return self.indices[name]

    def put(self, index: str, document: str, source: Any, *, refresh: bool = True) -> None:
        with self._lock:
            self.indices[index].now[document] = (next(self._versions), source)
            if refresh:
                self.refresh(index)

    def refresh(self, index: str) -> None:
        self.indices[index].seen = dict(self.indices[index].now)

    # -- routes

    def answer(self, method: str, path: list[str], params: dict[str, str], body: Any, user: str) -> Answer:
        with self._lock:
            if not path:
                return 200, {"version": {"number": "9.2.0 (emulated)"}}
            if path[0].startswith("_"):
                return self._of_cluster(method, path, body, user)
            index = self.indices.get(path[0])
            if index is None:
                return 404, {"error": "index_not_found_exception"}
            if not self._may_read(user, path[0]):
                return 403, {"error": "security_exception"}
            return self._of_index(method, path[0], index, path[1:], params, body)

    def _may_read(self, user: str, index: str) -> bool:
        return (
            not self.users
            or EVERYTHING in self.users.get(user, set())
            or index in self.users.get(user, set())
        )

    def _of_cluster(self, method: str, path: list[str], body: Any, user: str) -> Answer:
        match [method, *path]:
            case ["GET", "_cat", "indices"]:
                return 200, [
                    {"index": name, "docs.count": str(len(one.seen))} for name, one in self.indices.items()
                ]
            case ["POST", "_search", "scroll"]:
                return 200, self._scrolled(body["scroll_id"])
            case ["POST", "_search"]:
                return 200, self._page(body["pit"]["id"], body.get("search_after"))
            case ["DELETE", *_]:
                return 200, {}
            case ["GET", "_snapshot"]:
                return 200, {name: {} for name in self.snapshots}
            case ["GET", "_snapshot", repository, "_all"]:
                return 200, {"snapshots": self.snapshots[repository]}
            case ["GET", "_alias"]:
                return 200, {index: {"aliases": {alias: {}}} for alias, index in self.aliases.items()}
            case ["GET", *_]:
                return 200, {}
            case ["POST", "_security", *_]:
                return self._privileges(user)
        return 400, {"error": f"not emulated: {method} {path}"}

    def _privileges(self, user: str) -> Answer:
        if not self.users:
            return 404, {}
        reads = EVERYTHING in self.users.get(user, set())
        rights = {"read": reads, "view_index_metadata": reads, "write": user in self.writers}
        return 200, {"index": {"*": rights}}

    def _of_index(
        self, method: str, name: str, index: Index, rest: list[str], params: dict[str, str], body: Any
    ) -> Answer:
        match [method, *rest]:
            case ["DELETE"]:
                del self.indices[name]
            case ["GET", "_mapping"]:
                return 200, {name: {"mappings": {"properties": index.properties}}}
            case ["GET" | "POST", "_count"]:
                return 200, {"count": sum(_matches(one, id, body) for id, (_, one) in index.seen.items())}
            case ["POST", "_refresh"]:
                self.refresh(name)
            case ["POST", "_search"]:
                return 200, self._search(name, index, body, scroll="scroll" in params)
            case ["POST", "_pit"]:
                return 200, {"id": self._open(name, index, {}, size=2)}
            case ["POST", "_delete_by_query"]:
                return 200, self._delete(name, index, body)
            case ["POST", "_forcemerge"]:
                index.marked = 0
            case ["GET", "_stats", "docs"]:
                return 200, {"_all": {"primaries": {"docs": {"deleted": index.marked}}}}
            case ["PUT", "_doc", document]:
                self.put(name, document, body)
        return 200, {}

    def _search(self, name: str, index: Index, body: Any, *, scroll: bool) -> Any:
        read = self._open(name, index, body, size=body["size"])
        return self._scrolled(read) if scroll else self._page(read, None)

    def _open(self, name: str, index: Index, body: Any, size: int) -> str:
        """Keep what a search sees now."""
        hits = [
            {
                "_index": name,
                "_id": one,
                "sort": [number],
                **({} if index.without_source else {"_source": source}),
            }
            for number, (one, (_, source)) in enumerate(index.seen.items())
            if _matches(source, one, body)
        ]
        read = f"read-{len(self._reads)}"
        self._reads[read] = (name, hits, size)
        return read

    def _page(self, read: str, after: list[int] | None) -> Any:
        name, hits, size = self._reads[read]
        some = [hit for hit in hits if after is None or hit["sort"] > after][:size]
        failed = int(name in self.failing_shards)
        return {"_scroll_id": read, "timed_out": False, "_shards": {"failed": failed}, "hits": {"hits": some}}

    def _scrolled(self, read: str) -> Any:
        """A scroll keeps its place at the server."""
        name, hits, size = self._reads[read]
        page = self._page(read, None)
        self._reads[read] = (name, hits[size:], size)
        return page

    def _delete(self, name: str, index: Index, body: Any) -> Any:
        wanted = [one for one, (_, source) in index.seen.items() if _matches(source, one, body)]
        versions = {one: index.seen[one][0] for one in wanted}
        deleted, conflicts, failures = 0, 0, []
        for one in wanted:
            if self.written_meanwhile.get(one, 0) > 0:
                self.written_meanwhile[one] -= 1
                self.put(name, one, index.now[one][1], refresh=False)
            if one in self.broken:
                failures.append({"id": one, "cause": {"type": "mapper_exception"}})
            elif one in index.now and index.now[one][0] == versions[one]:
                del index.now[one]
                deleted, index.marked = deleted + 1, index.marked + 1
            else:
                conflicts += 1
        self.refresh(name)
        return {
            "total": len(wanted),
            "deleted": deleted,
            "version_conflicts": conflicts,
            "failures": failures,
        }


def _matches(source: Any, document: str, body: Any) -> bool:
    """The few kinds of queries that are emulated."""
    query = (body or {}).get("query")
    if not query:
        return True
    if "bool" in query:
        return all(_matches(source, document, {"query": one}) for one in query["bool"]["filter"])
    if "ids" in query:
        return document in query["ids"]["values"]
    ((field_name, values),) = query["terms"].items()
    return source.get(field_name.removesuffix(".keyword")) in values


@contextmanager
def served(cluster: EmulatedCluster) -> Iterator[str]:
    """The cluster at an address of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = [unquote(part) for part in parts.path.split("/") if part]
            params = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            user = (self.headers.get("Authorization") or "").removeprefix("ApiKey ")
            status, answer = cluster.answer(self.command, path, params, body, user)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
