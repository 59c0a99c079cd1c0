"""A piece of work in a child process that is killed with -9 at a chosen call."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def killed_at(point: tuple[type, str], nth: int, after: bool, work: Callable[[], object]) -> bool:
    """Do the work in a child that kills itself at the nth call of a method, before it or after it; whether it got there.

    Whatever the child shares with us (connections) has to be closed before.
    """
    pid = os.fork()
    if pid == 0:
        owner, name = point
        whole, calls = getattr(owner, name), 0

        def dying(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = whole(*arguments, **named)
            if calls == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, dying)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)
