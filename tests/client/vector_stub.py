"""The least of a vector service that the SDK's index object can talk to: upsert, fetch, update, delete by id.

A stand-in until the sandbox has its emulator; it tests our client, not the product.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pinecone import Pinecone


class VectorStub:
    """One index, over HTTP on a free port."""

    def __init__(self) -> None:
        vectors: dict[tuple[str, str], dict] = {}
        self.vectors = vectors

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
                namespace = query.get("namespace", [""])[0]
                found = {i: vectors[namespace, i] for i in query["ids"] if (namespace, i) in vectors}
                self._answer({"vectors": found, "namespace": namespace, "usage": {"readUnits": 1}})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                namespace = body.get("namespace", "")
                match urlsplit(self.path).path.rsplit("/", 1)[-1]:
                    case "upsert":
                        for vector in body["vectors"]:
                            vectors[namespace, vector["id"]] = vector
                        self._answer({"upsertedCount": len(body["vectors"])})
                    case "update":
                        vectors[namespace, body["id"]].setdefault("metadata", {}).update(body["setMetadata"])
                        self._answer({})
                    case "delete":
                        for one in body["ids"]:
                            vectors.pop((namespace, one), None)
                        self._answer({})

            def _answer(self, content: dict) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def index(self) -> object:
        return Pinecone(api_key="k").Index(host=f"http://127.0.0.1:{self._server.server_address[1]}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
