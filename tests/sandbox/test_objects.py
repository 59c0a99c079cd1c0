"""The sandbox's object server: found again, killed, paused, restarted; its buckets come back empty."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tenant_lifecycle.sandbox import objects
from tenant_lifecycle.sandbox.objects import ObjectServer
from tenant_lifecycle.sandbox.postgres import ServerFailed

#: The emulator looks at no signature, but takes a request without one for a stranger's.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=app/20260101/us-east-1/s3/aws4_request"}


def status(server: ObjectServer, key: str) -> int:
    try:
        request = urllib.request.Request(f"{server.endpoint}/bucket/{key}", headers=SIGNED)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code


def put(server: ObjectServer, key: str) -> None:
    request = urllib.request.Request(f"{server.endpoint}/bucket/{key}", b"x", headers=SIGNED, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def test_it_keeps_nothing_over_a_restart_and_is_found_by_another_process(tmp_path: Path) -> None:
    with ObjectServer(tmp_path, buckets=("bucket",)) as server:
        pid = server.pid
        put(server, "k")
        again = ObjectServer(tmp_path, buckets=("bucket",))
        again.start()
        assert (again.pid, again.port) == (pid, server.port)
        assert status(again, "k") == 200
        server.restart()
        assert server.pid != pid and server.port == again.port
        assert status(server, "k") == 404
        server.kill()
        assert server.pid is None
        with pytest.raises(OSError):
            status(server, "k")
        server.start()
        assert status(server, "k") == 404
        last = psutil.Process(server.pid)
    assert not last.is_running() or last.status() == psutil.STATUS_ZOMBIE
    assert server.pid is None


def test_a_paused_server_hangs_and_goes_on(tmp_path: Path) -> None:
    with ObjectServer(tmp_path, buckets=("bucket",)) as server:
        put(server, "k")
        server.pause()
        began = time.monotonic()
        with pytest.raises((TimeoutError, urllib.error.URLError)):
            urllib.request.urlopen(f"{server.endpoint}/bucket/k", timeout=0.5)
        assert time.monotonic() - began >= 0.5
        server.resume()
        assert status(server, "k") == 200
        server.pause()
    assert server.pid is None


def test_a_port_that_is_in_use_is_not_taken_and_a_known_one_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PORT_TIMEOUT_S", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with ObjectServer(tmp_path, port=port, buckets=("bucket",)) as server:
            assert server.port != port and status(server, "k") == 404
        server.port = port
        with pytest.raises(ServerFailed, match="in use"):
            server.start()
