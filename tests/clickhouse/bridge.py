"""The ClickHouse engine of chdb behind the HTTP interface: what clickhouse-connect asks for, and no more.

It is the real engine with its real dialect and its real files, in one process and without users, replicas or
background settings of a server; what stands between is ours. Run as a program: ``bridge.py FOLDER``; prints its port.
"""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from chdb import session

ENGINE = session.Session(sys.argv[1])
LOCK = threading.Lock()
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)


def run(sql: str, values: dict[str, list[str]]) -> bytes:
    """Run one statement with its parameters; settings that the HTTP interface takes are passed on."""
    wanted = _FORMAT.search(sql)
    sql = _FORMAT.sub("", sql)
    parameters = {
        name.removeprefix("param_"): value[0] for name, value in values.items() if name.startswith("param_")
    }
    settings = [
        f"{name} = {values[name][0]}"
        for name in ("mutations_sync", "apply_deleted_mask", "alter_sync")
        if name in values
    ]
    with LOCK:
        if settings:
            ENGINE.query(f"SET {', '.join(settings)}")
        try:
            return ENGINE.query(
                sql, wanted[1] if wanted else "TabSeparated", params=parameters or None
            ).bytes()
        finally:
            for name in settings:
                ENGINE.query(f"SET {name.split(' ')[0]} = DEFAULT")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        values = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        sql = values.get("query", [""])[0] + body
        try:
            status, answer = 200, run(sql, values)
        except Exception as exc:
            status, answer = 500, str(exc).encode()
        self.send_response(status)
        if status != 200:
            self.send_header("X-ClickHouse-Exception-Code", "1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
