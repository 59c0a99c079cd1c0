"""Servers that end with the process that started them, also when that is killed and can end nothing any more.

Tests, benches and demonstrations start servers inside `ending_with_us`. A small process of its own, the guardian,
reads a pipe whose other end only we hold; when we are gone, however we went, the pipe is at its end, and the
guardian ends what it was told of. What ``tenantctl sandbox up`` starts is meant to stay, and is not told of.

It is a process and not a death signal of the kernel: servers that make themselves daemons lose that signal, and it
also comes when merely the thread ends that started them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

#: How long the guardian goes on looking: a PostgreSQL that was being started has its pid file a moment later.
LOOKING_S = 3.0
_PROCESS, _DATA = "process", "data"

_lock = threading.Lock()
#: How many blocks of `ending_with_us` are open.
_open = 0
_guardian: subprocess.Popen[bytes] | None = None


@contextmanager
def ending_with_us() -> Iterator[None]:
    """What is started in this block, by any thread, ends at the latest when this process does."""
    global _open
    with _lock:
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1


def guard(pid: int) -> None:
    """This server is to end with us; in a block of `ending_with_us`, else nothing happens."""
    with suppress(psutil.NoSuchProcess):
        _tell(f"{_PROCESS} {pid} {psutil.Process(pid).create_time()!r}")


def guard_data(data: Path) -> None:
    """The PostgreSQL server of this data folder, whichever process it is, or will be in a moment."""
    _tell(f"{_DATA} {data}")


def _tell(line: str) -> None:
    global _guardian
    with _lock:
        if not _open:
            return
        if _guardian is None:
            _guardian = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, cwd="/",
                # A signal to our group is for us; the guardian outlives us.
                start_new_session=True,
            )  # fmt: skip
        assert _guardian.stdin is not None
        with suppress(BrokenPipeError):
            _guardian.stdin.write(f"{line}\n".encode())
            _guardian.stdin.flush()


def main() -> None:
    """Read until nobody holds the other end any more, then end everything that was read of."""
    told = dict.fromkeys(sys.stdin.buffer.read().decode().splitlines())
    if not told:
        return
    end = time.monotonic() + LOOKING_S
    while time.monotonic() < end:
        for line in told:
            _end(_of(line), gently=True)
        time.sleep(0.1)
    for line in told:
        _end(_of(line), gently=False)


def _of(line: str) -> psutil.Process | None:
    """The server that a line speaks of, if it runs and still is that one."""
    kind, _, rest = line.partition(" ")
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        if kind == _PROCESS:
            pid, born = rest.split()
            process = psutil.Process(int(pid))
            return process if process.create_time() == float(born) else None
        process = psutil.Process(int((Path(rest) / "postmaster.pid").read_text().split("\n")[0]))
        return process if rest in process.cmdline() else None
    return None


def _end(process: psutil.Process | None, *, gently: bool) -> None:
    """A PostgreSQL is asked to end at once, because it gives its shared memory back; everything else is killed."""
    if process is None:
        return
    with suppress(psutil.NoSuchProcess):
        if gently and process.name() in ("postgres", "postmaster"):
            _send([process], signal.SIGQUIT, signal.SIGCONT)
        else:
            _send([process, *process.children(recursive=True)], signal.SIGKILL)


def _send(processes: Iterable[psutil.Process], *numbers: signal.Signals) -> None:
    for process in processes:
        for number in numbers:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


if __name__ == "__main__":
    main()
