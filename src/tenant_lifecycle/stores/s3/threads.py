"""Doing one thing to many keys with a few threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Keys worked on at one time. Each may wait for a second thread that asks the other side.
THREADS = 8

T = TypeVar("T")
U = TypeVar("U")
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="s3-keys")
#: Threads that ask one question each and never wait for another thread.
asking = ThreadPoolExecutor(2 * THREADS, thread_name_prefix="s3-asking")


def each(work: Callable[[T], U], keys: Sequence[T]) -> list[U]:
    """``work`` done to every key; results in order. The first error is raised when all that began have ended."""
    if len(keys) == 1:
        return [work(keys[0])]
    futures = [_pool.submit(work, key) for key in keys]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()
