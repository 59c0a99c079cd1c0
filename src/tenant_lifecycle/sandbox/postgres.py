"""Real PostgreSQL servers on this machine, out of the wheel (16 and 18) or of the distribution (15)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

from tenant_lifecycle.sandbox.binaries import installed, place_for, programs, reachable, server_user
from tenant_lifecycle.sandbox.guardian import guard_data

__all__ = ["PostgresServer", "ServerFailed", "free_port", "installed"]

#: What a server needs for this product, and what makes a small one start fast.
SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "shared_buffers": "128MB",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
}


class ServerFailed(RuntimeError):
    """A program of PostgreSQL failed; the message has what it said and the end of the server's log."""


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago.

    Below the range from which systems take ports for outgoing connections, so that a server that is
    restarted gets it again.
    """
    for port in random.sample(range(20_000, 32_000), 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PostgresServer:
    """One server with a data folder of its own; started, stopped, killed and restarted by its process id.

    As a context manager it is started at the beginning and stopped at the end, whatever happens between.
    """

    major: int
    folder: Path
    #: Another one is taken if it turns out to be in use when the server is started the first time.
    port: int = field(default_factory=free_port)
    #: Extra lines of postgresql.conf; ``fsync: off`` makes tests fast.
    settings: dict[str, str] = field(default_factory=dict)
    _was_up: bool = field(default=False, repr=False)

    @property
    def home(self) -> Path:
        """Where its files really are: ``folder``, or what it points to."""
        return self.folder.resolve()

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """A libpq connection string to one of its databases; the wheel's servers speak no TLS."""
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database} sslmode=disable"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster; None when it is not running."""
        process = self._postmaster()
        return None if process is None else process.pid

    def create(self) -> None:
        """Make the data folder, if it is not there yet."""
        if (self.data / "PG_VERSION").exists():
            return
        self._make_home()
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip

    def start(self) -> None:
        """Create if needed, start, and wait until it accepts connections; running already: learn its port.

        Raises:
            ServerFailed: it did not start.
        """
        self.create()
        if self.pid is not None:
            self.port = int((self.data / "postmaster.pid").read_text().split("\n")[3])
            self._was_up = True
            return
        self._clear_after_zombie()
        for last in (False, False, False, False, True):
            try:
                self._start()
            except ServerFailed as exc:
                if last or "could not bind" not in str(exc):
                    raise
                # Clients know the port of a server that was up before: wait for it. Else take another.
                if self._was_up:
                    time.sleep(0.5)
                else:
                    self.port = free_port()
            else:
                self._was_up = True
                return

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs; ``mode`` as in ``pg_ctl stop -m``."""
        if self.pid is not None:
            self.resume()
            self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop and start on the same port."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """kill -9 the postmaster and its children, as a power cut would, and wait until all are gone."""
        self._signal(signal.SIGKILL, wait=True)

    def pause(self) -> None:
        """SIGSTOP to the postmaster and its children: the server hangs, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: go on after `pause`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and delete everything it wrote."""
        self.stop("immediate")
        home = self.home
        if self.folder.is_symlink():
            self.folder.unlink()
        shutil.rmtree(home, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate" if kind else "fast")

    def _start(self) -> None:
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": "''", **self.settings}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        guard_data(self.data)
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.log), "-o", options, "start"
        )

    def _make_home(self) -> None:
        """Make ``folder``, or point it to a place of ours if the server's user cannot get there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self.folder.is_symlink() or not reachable(self.folder.absolute()):
            if not self.folder.is_symlink():
                self.folder.symlink_to(place_for(self.folder))
            place_for(self.folder).mkdir(exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        user = server_user()
        if user is not None:
            os.chown(self.home, user.uid, user.gid)

    def _postmaster(self) -> psutil.Process | None:
        """The process of the pid file, if it still is a server on this data folder."""
        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().split("\n")[0]))
            if process.status() == psutil.STATUS_ZOMBIE or str(self.data) not in process.cmdline():
                return None
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process

    def _clear_after_zombie(self) -> None:
        """Remove the pid file of a killed postmaster whom process 1 does not collect (containers): the
        server would take it for alive. Not while a child of it lives, which still has the shared memory."""
        file = self.data / "postmaster.pid"
        try:
            process = psutil.Process(int(file.read_text().split("\n")[0]))
            if process.status() != psutil.STATUS_ZOMBIE:
                return
        except (OSError, ValueError, psutil.NoSuchProcess):
            return
        data = str(self.data)
        _wait_until_gone([p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == data])
        file.unlink()

    def _signal(self, number: signal.Signals, *, wait: bool = False) -> None:
        postmaster = self._postmaster()
        if postmaster is None:
            return
        # The postmaster first, or it would start new children meanwhile.
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        if wait:
            _wait_until_gone(family)

    def _run(self, program: str, *arguments: str) -> None:
        user = server_user()
        before = self.log.stat().st_size if self.log.exists() else 0
        # The output goes to a file: a server that inherits a pipe would keep our reader waiting for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(programs(self.major) / program), *arguments],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/",
                # Ctrl-C is for us, not for the servers; and nobody's PGOPTIONS count here.
                start_new_session=True, env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
                check=False,
                user=user.uid if user else None, group=user.gid if user else None, extra_groups=() if user else None,
            )  # fmt: skip
            if done.returncode != 0:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise ServerFailed(
                    f"{program} of PostgreSQL {self.major} failed: {said}\n{self._log_since(before)}"
                )

    def _log_since(self, offset: int) -> str:
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[offset:][-3000:].decode(errors="replace")


def _wait_until_gone(processes: list[psutil.Process], timeout_s: float = 30) -> None:
    """Gone, or dead and not yet collected by whoever has to."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and any(_alive(process) for process in processes):
        time.sleep(0.01)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
