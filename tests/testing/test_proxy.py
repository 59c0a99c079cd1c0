"""The fault proxy does to connections what it says, against a server that echoes."""

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tenant_lifecycle.testing.proxy import FaultProxy, Way


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.server.seen.append(data)
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[socketserver.ThreadingTCPServer]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    server.seen = []
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def proxy(echo) -> Iterator[FaultProxy]:
    with FaultProxy(*echo.server_address) as proxy:
        yield proxy


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def exchange(conn: socket.socket, data: bytes) -> bytes:
    conn.sendall(data)
    answer = b""
    while len(answer) < len(data):
        piece = conn.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def test_without_faults_every_byte_passes(proxy) -> None:
    data = bytes(range(256)) * 2000
    with connect(proxy) as conn:
        threading.Thread(target=conn.sendall, args=(data,)).start()
        answer = b""
        while len(answer) < len(data):
            answer += conn.recv(65536)
        assert answer == data
        assert proxy.forwarded == {Way.TO_SERVER: len(data), Way.TO_CLIENT: len(data)}
        conn.shutdown(socket.SHUT_WR)
        assert conn.recv(1) == b""


def test_cut_resets_what_is_open_and_lets_new_ones_in(proxy) -> None:
    with connect(proxy) as old:
        assert exchange(old, b"hello") == b"hello"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    with connect(proxy) as new:
        assert exchange(new, b"again") == b"again"


def test_refuse_lasts_until_heal_on_the_same_port(proxy) -> None:
    port = proxy.port
    with connect(proxy) as old:
        exchange(old, b"x")
        proxy.refuse()
        with pytest.raises(ConnectionError):
            old.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.heal()
    assert proxy.port == port
    with connect(proxy) as new:
        assert exchange(new, b"back") == b"back"


def test_delay_costs_time_and_not_throughput(proxy) -> None:
    proxy.delay(0.15, Way.TO_CLIENT)
    with connect(proxy) as conn:
        began = time.monotonic()
        assert exchange(conn, b"ping") == b"ping"
        assert 0.15 <= time.monotonic() - began < 1
        began = time.monotonic()
        assert len(exchange(conn, b"x" * 500_000)) == 500_000
        assert time.monotonic() - began < 1


def test_a_black_hole_keeps_connections_open_and_gives_back_when_healed(proxy, echo) -> None:
    with connect(proxy) as conn:
        exchange(conn, b"before")
        proxy.black_hole(Way.TO_CLIENT)
        conn.sendall(b"into the hole")
        conn.settimeout(0.3)
        with pytest.raises(TimeoutError):
            conn.recv(100)
        assert b"into the hole" in echo.seen, "half open: the request arrived"
        conn.settimeout(5)
        proxy.heal()
        assert conn.recv(100) == b"into the hole"


def test_throttle_limits_bytes_a_second(proxy) -> None:
    proxy.throttle(100_000, Way.TO_CLIENT)
    with connect(proxy) as conn:
        began = time.monotonic()
        assert len(exchange(conn, b"x" * 40_000)) == 40_000
        assert 0.3 < time.monotonic() - began < 1.5


def test_cut_after_lets_exactly_so_many_bytes_through(proxy, echo) -> None:
    with connect(proxy) as conn:
        exchange(conn, b"x")
        echo.seen.clear()
        proxy.cut_after(5, Way.TO_SERVER)
        conn.sendall(b"0123456789")
        with pytest.raises(ConnectionResetError):
            while conn.recv(100):
                pass
    deadline = time.monotonic() + 2
    while b"".join(echo.seen) != b"01234" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert b"".join(echo.seen) == b"01234"
    with connect(proxy) as conn:
        assert exchange(conn, b"whole again") == b"whole again", "the limit was used up"


def test_a_server_that_is_gone_looks_gone() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        with FaultProxy("127.0.0.1", placeholder.getsockname()[1]) as proxy, connect(proxy) as conn:
            with pytest.raises(ConnectionError):
                if conn.recv(1) == b"":
                    raise ConnectionError
        proxy.stop()


def test_a_server_that_resets_is_passed_on_as_a_reset() -> None:
    """A killed server resets its connections; a client that is not told waits for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with FaultProxy(*listener.getsockname()) as proxy, connect(proxy) as conn:
            served, _ = listener.accept()
            conn.sendall(b"question")
            assert served.recv(100) == b"question"
            served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            served.close()
            conn.settimeout(5)
            with pytest.raises(ConnectionResetError):
                conn.recv(100)
