"""Runs a load in the foreground of this process until it is told to stop, or nobody is left who wants it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

Summary_co = TypeVar("Summary_co", covariant=True)
#: Threads wait for each other's turn 5 ms by default, which would look like something slow behind them.
_SWITCH_S = 0.0005


class Runnable(Protocol[Summary_co]):
    """A load of either kind."""

    def start(self) -> None:
        """Begin; returns when everything runs."""

    def wait(self, until: Callable[[], bool]) -> None:
        """Return at the deadline, or when ``until`` says so."""

    def stop(self) -> Summary_co:
        """Let everybody finish what they are at, and say what happened."""


def run_until_told(load: Runnable[Summary_co], started: Callable[[], None]) -> Summary_co:
    """Run it (main thread) until its deadline, SIGTERM or SIGINT, or until the process that started this one is
    gone; ``started`` is called when everything runs."""
    told, parent = threading.Event(), os.getppid()
    before = {
        number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        load.start()
        started()
        load.wait(lambda: told.is_set() or os.getppid() != parent)
        return load.stop()
    finally:
        sys.setswitchinterval(interval)
        for number, handler in before.items():
            signal.signal(number, handler)
