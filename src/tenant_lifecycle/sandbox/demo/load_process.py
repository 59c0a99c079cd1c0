"""A load generator as a process of its own: it must not share the demonstration's interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tenant_lifecycle.errors import InvariantViolated


class LoadProcess:
    """The load, running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> Mapping[str, Any]:
        """Let everybody finish what is under way; return the summary."""
        self._process.send_signal(signal.SIGTERM)
        output, _ = self._process.communicate(timeout=60)
        summary: Mapping[str, Any] = json.loads(output.strip().splitlines()[-1])
        return summary


@contextmanager
def load_process(module: str, config: str) -> Iterator[LoadProcess]:
    """Run ``python -m module --config config``; it is at work before the block begins, and ended with the block.

    Raises:
        InvariantViolated: it ended before it said that it had begun.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--config", config],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise InvariantViolated("the load did not start", next_step="its error stands above")
        yield LoadProcess(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
