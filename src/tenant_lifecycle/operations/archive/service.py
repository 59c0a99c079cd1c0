"""The archiver's process: a thread for each log, that begins again after every error, and a file that says how it is."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.operations.archive.line import Reach

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_NOTED_S = 1.0
#: The file in the state folder.
STATUS = "archiver.json"


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Archiver(Protocol):
    """One log that is archived."""

    reach: Reach | None
    findings: list[Finding]

    @property
    def source(self) -> Named: ...
    def step(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Work:
    archiver: Archiver
    #: What stops it just now; empty while it works.
    trouble: str = ""


def run(archivers: Sequence[Archiver], stop: threading.Event, folder: Path) -> None:
    """Archive until ``stop``; being killed instead is as good."""
    works = [_Work(archiver) for archiver in archivers]
    threads = [
        threading.Thread(target=_keep_on, args=(work, stop), name=f"archive {work.archiver.source.name}")
        for work in works
    ]
    for thread in threads:
        thread.start()
    try:
        while not stop.wait(_NOTED_S):
            _note(folder, works, running=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        _note(folder, works, running=False)


def _keep_on(work: _Work, stop: threading.Event) -> None:
    pause_s = _FIRST_PAUSE_S
    name = work.archiver.source.name
    while not stop.is_set():
        try:
            work.archiver.step()
            work.trouble, pause_s = "", _FIRST_PAUSE_S
        except LifecycleError as exc:
            logger.warning("archive %s: %s; trying again", name, exc)
            work.trouble = str(exc)
        except Exception as exc:
            logger.exception("archive %s: failed; trying again", name)
            work.trouble = f"{type(exc).__name__}: {exc}"
        if work.trouble:
            work.archiver.close()
            stop.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    work.archiver.close()


def _note(folder: Path, works: Sequence[_Work], *, running: bool) -> None:
    """Write the file whole or not at all."""
    logs = [
        {
            "log": work.archiver.source.name,
            "complete_until_us": work.archiver.reach.at_us if work.archiver.reach else None,
            "trouble": work.trouble,
            "findings": [asdict(finding) for finding in work.archiver.findings],
        }
        for work in works
    ]
    document = {"pid": os.getpid() if running else None, "at": time.time(), "logs": logs}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = folder / f"{STATUS}.new"
    new.write_text(json.dumps(document, indent=1))
    new.replace(folder / STATUS)


def status(folder: Path) -> dict[str, Any] | None:
    """What the archiver of this host wrote last; None: none ever ran here."""
    try:
        return dict(json.loads((folder / STATUS).read_text()))
    except FileNotFoundError:
        return None
