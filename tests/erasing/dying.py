"""A driver that is killed with -9 at a chosen call."""

from __future__ import annotations

import os
import signal

from erasing_stage import Stage


def drive_and_die(stage: Stage, operation_id: str, point: tuple[type, str], nth: int, after: bool) -> bool:
    """Drive in a child that kills itself at the nth call; whether it got there."""
    stage.db.close()
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
            stage.driver().drive(operation_id)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)
