"""The sandbox's object server: found again, killed, paused, restarted; its buckets come back empty."""

from __future__ import annotations

import http.client
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
    return status_and_content(server, key)[0]


def status_and_content(server: ObjectServer, key: str) -> tuple[int, bytes]:
    try:
        request = urllib.request.Request(f"{server.endpoint}/bucket/{key}", headers=SIGNED)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        return exc.code, b""


def put(server: ObjectServer, key: str) -> None:
    request = urllib.request.Request(
        f"{server.endpoint}/bucket/{key}", b"content", headers=SIGNED, method="PUT"
    )
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


def test_it_is_told_to_fail_before_or_after_the_effect_and_to_break_off(tmp_path: Path) -> None:
    with ObjectServer(tmp_path, buckets=("bucket",)) as server:
        put(server, "k")
        assert server.faults(slow_down=1.0)["slow_down"] == 1.0
        assert status(server, "k") == 503
        server.faults(slow_down=0.0, errors=1.0)
        for number in range(20):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                put(server, f"k{number}")
        server.faults(errors=0.0, resets=1.0)
        with pytest.raises((OSError, http.client.HTTPException)):
            put(server, "late")
        with pytest.raises((OSError, http.client.HTTPException)):
            status_and_content(server, "k")
        server.faults(resets=0.0)
        assert server.faults() == {"slow_down": 0.0, "errors": 0.0, "resets": 0.0}
        arrived = [status(server, f"k{number}") for number in range(20)]
        assert 0 < arrived.count(200) < 20, "some of what failed was done, some was not"
        assert status(server, "late") == 200, "done, although its answer never came"
        with pytest.raises(ServerFailed, match="no fault is called 'slow'"):
            server.faults(slow=1.0)
        with pytest.raises(ServerFailed, match="share"):
            server.faults(errors=2.0)
