"""Health sources against real small servers and a real PostgreSQL; tenants with hostile names."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Health
from tenant_lifecycle.traffic.health.probe import ProbeHealth
from tenant_lifecycle.traffic.health.prometheus import PrometheusHealth, Template, label_value
from tenant_lifecycle.traffic.health.query import QueryHealth
from tenant_lifecycle.traffic.steering import Steering

ACME = TenantId("acme")
HOSTILE = TenantId('a"} or vector(1) #\\\n$environment%(x)s{tenant}/../é')


class Server:
    """Answers what a test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str], tuple[int, bytes]] = lambda asked: (200, b"ok")
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(self.path)

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _reply(self, asked: str) -> None:
                outer.asked.append(asked)
                outer.headers.append(dict(self.headers))
                status, body = outer.answer(asked)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def vector(*values: str) -> bytes:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


QUERIES = {
    "requests": Template('sum(increase(r{tenant="$tenant",env="$environment"}[$window]))'),
    "errors": Template('sum(increase(e{tenant="$tenant",env="$environment"}[$window]))'),
    "p99_seconds": Template('histogram_quantile(0.99, x{tenant="$tenant"})'),
}


def test_prometheus_numbers_become_health(server: Server) -> None:
    server.answer = lambda asked: (200, vector("0.125") if "quantile" in asked else vector("99.6"))
    source = PrometheusHealth("prom", server.url + "/", QUERIES, token="secret")
    assert source.health(ACME, "green", 90.0) == Health(100, 100, 125.0)
    asked = urllib.parse.parse_qs(server.asked[0])["query"][0]
    assert asked == 'sum(increase(r{tenant="acme",env="green"}[90000ms]))'
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(source)


def test_a_tenants_id_stays_a_label_value() -> None:
    filled = QUERIES["requests"].filled(HOSTILE, "green", 1.0)
    start = filled.index('tenant="') + len('tenant="')
    end = start
    while filled[end] != '"':
        end += 2 if filled[end] == "\\" else 1
    # Everything up to the closing quote is the id, escaped, and nothing in it was filled a second time.
    assert filled[start:end] == label_value(HOSTILE)
    assert filled[end:] == '",env="green"}[1000ms]))'
    assert "\n" not in filled


@pytest.mark.parametrize(
    "text",
    ['r{tenant=~"$tenant"}', "r_$tenant", 'r{tenant="x$tenant"}', "r{tenant='$tenant'}", "$environment"],
)
def test_a_query_with_an_id_anywhere_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="alone in quotes"):
        Template(text)


def test_nothing_and_no_number_are_unknown(server: Server) -> None:
    source = PrometheusHealth("prom", server.url, QUERIES)
    for body in (vector(), vector("NaN"), vector("+Inf")):
        server.answer = lambda asked, body=body: (200, body)
        assert source.health(ACME, "green", 1.0) == Health(0, 0, None)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, vector("1", "2"), StoreRejected),
        (200, b"<html>", StoreRejected),
        (200, b'{"status": "success", "data": {}}', StoreRejected),
        (400, b'{"status": "error", "errorType": "bad_data"}', StoreRejected),
        (401, b"", StoreRejected),
        (503, b"", StoreUnavailable),
    ],
)
def test_what_prometheus_says_otherwise(
    server: Server, status: int, body: bytes, error: type[Exception]
) -> None:
    server.answer = lambda asked: (status, body)
    with pytest.raises(error, match=r"^prom: "):
        PrometheusHealth("prom", server.url, QUERIES).health(ACME, "green", 1.0)


def test_a_prometheus_that_is_not_there_is_unavailable(closed_port: int) -> None:
    with pytest.raises(StoreUnavailable):
        PrometheusHealth("prom", f"http://127.0.0.1:{closed_port}", QUERIES).health(ACME, "green", 1.0)


def test_a_probe_counts_statuses_and_times(server: Server, closed_port: int) -> None:
    server.answer = lambda asked: (500 if "bad" in asked else 200, b"ok")
    urls = {
        "blue": f"{server.url}/good?t={{tenant}}",
        "green": f"{server.url}/bad?t={{tenant}}",
        "red": f"http://127.0.0.1:{closed_port}/",
    }
    now = [100.0]
    probe = ProbeHealth("pages", urls, burst=3, clock=lambda: now[0])
    good, bad = probe.health(HOSTILE, "blue", 10.0), probe.health(HOSTILE, "green", 10.0)
    assert (good.requests, good.errors) == (3, 0) and good.p99_ms is not None and good.p99_ms > 0
    assert (bad.requests, bad.errors) == (3, 3)
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(server.asked[0]).query)["t"] == [HOSTILE]
    assert probe.health(HOSTILE, "red", 10.0).errors == 3
    now[0] = 105.0
    assert probe.health(HOSTILE, "blue", 10.0).requests == 6
    now[0] = 111.0
    assert probe.health(HOSTILE, "blue", 10.0).requests == 6, "the first three are out of the window"
    with pytest.raises(StoreRejected, match="violet"):
        probe.health(ACME, "violet", 1.0)


def test_a_query_gives_its_row_and_its_values_are_parameters(new_database: Callable[..., str]) -> None:
    dsn = new_database()
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE answers (tenant text, cited boolean)")
        conn.execute(
            "INSERT INTO answers VALUES (%s, true), (%s, true), (%s, false), ('acme', false)", (HOSTILE,) * 3
        )
    sql = "SELECT count(*) AS requests, avg(cited::int) AS business FROM answers WHERE tenant = %(tenant)s"
    source = QueryHealth("answers", {"green": dsn}, sql)
    found = source.health(HOSTILE, "green", 5.0)
    assert found.requests == 3 and found.business == pytest.approx(2 / 3) and found.p99_ms is None
    # The server went away between two looks: the next one connects again.
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tenant-lifecycle health'")  # fmt: skip
    with pytest.raises(StoreUnavailable):
        source.health(ACME, "green", 5.0)
    assert source.health(ACME, "green", 5.0).requests == 1
    source.close()


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        ("INSERT INTO t VALUES (1) RETURNING 1 AS requests", StoreRejected, "refuses"),
        ("SELECT 1 AS reqests", StoreRejected, "reqests"),
        ("SELECT 1 AS requests FROM t, t AS u", StoreRejected, "more than one row"),
        ("SELECT 1 / (pg_sleep(5) IS NULL)::int AS requests", StoreUnavailable, "within"),
        ("SELEC", StoreRejected, "refuses"),
    ],
)
def test_a_query_that_does_something_else(
    new_database: Callable[..., str], sql: str, error: type[Exception], said: str
) -> None:
    dsn = new_database()
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE t AS SELECT generate_series(1, 2)")
    source = QueryHealth("q", {"green": dsn}, sql, timeout_s=0.5)
    with pytest.raises(error, match=said):
        source.health(ACME, "green", 1.0)
    source.close()


def test_a_database_that_is_not_there_is_unavailable(closed_port: int) -> None:
    source = QueryHealth("q", {"green": f"host=127.0.0.1 port={closed_port}"}, "SELECT 1 AS requests")
    with pytest.raises(StoreUnavailable):
        source.health(ACME, "green", 1.0)


def test_a_source_that_hangs_holds_up_no_other_and_is_not_asked_twice(server: Server) -> None:
    gate = threading.Event()

    def hang(asked: str) -> tuple[int, bytes]:
        gate.wait(10)
        return 200, b"ok"

    server.answer = hang
    slow = ProbeHealth("slow", {"blue": server.url, "green": server.url}, burst=1, timeout_s=8.0)

    class Quick:
        name = "quick"

        def health(self, tenant: TenantId, environment: str, window_s: float) -> Health:
            return Health(1)

        def close(self) -> None:
            pass

    steering = Steering([], [slow, Quick()])
    try:
        began = time.monotonic()
        for _ in range(2):
            readings = {reading.source: reading for reading in steering.health(ACME, "green", "blue", 1.0)}
            assert readings["quick"].target == Health(1)
            assert readings["slow"].target is None and "no answer within" in readings["slow"].why
        assert time.monotonic() - began < 7
        assert len(server.asked) == 1
    finally:
        gate.set()
        steering.close()
