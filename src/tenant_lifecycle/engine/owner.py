"""Who drives: a name for this process that another process of the same host can prove dead.

Host, boot, process namespace, process id and start time together name one process for ever; the random part
names one drive of it. Where /proc is missing the proof is impossible, and leases simply run out.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Owner:
    """One drive of one process; ``str()`` is what the lease holds."""

    host: str
    #: Boot id and process namespace, "" where unknown.
    boot: str
    pid: int
    #: Clock ticks from boot to the process' start, -1 where unknown.
    start_ticks: int
    #: Hex digits that no other drive has.
    nonce: str

    def __str__(self) -> str:
        return f"{self.host}|{self.boot}|{self.pid}|{self.start_ticks}|{self.nonce}"

    @classmethod
    def of_this_process(cls) -> Owner:
        """A new owner, of this process (also right after a fork)."""
        pid = os.getpid()
        host = socket.gethostname().replace("|", "_")
        return cls(host, _boot(), pid, _start_ticks(pid), uuid.uuid4().hex[:12])

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what ``str()`` wrote; None for anything else."""
        parts = text.split("|")
        if len(parts) != 5 or not parts[2].isdigit() or not parts[3].lstrip("-").isdigit():
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4])

    def is_dead(self) -> bool:
        """True only if it is proven: same host, boot and namespace, and no such process any more."""
        if not self.boot or self.start_ticks < 0 or self.host != socket.gethostname().replace("|", "_"):
            return False
        return self.boot == _boot() and _start_ticks(self.pid) != self.start_ticks


def _boot() -> str:
    """Boot id and process namespace: pids of another container on this host mean other processes."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_ticks(pid: int) -> int:
    """When the process started; -1 if there is none, or if it is dead and only waits to be reaped."""
    try:
        # The name in brackets may hold spaces and brackets; what follows the last one is numeric.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in ("Z", "X") else int(fields[19])
