"""Looking on while an operation goes: a tree that redraws itself, or one line per change.

Looking on changes nothing. Ctrl-C and a timeout end the looking, never the operation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Group
from rich.live import Live

from tenant_lifecycle.cli import documents
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Goal
from tenant_lifecycle.cli.history import event_line
from tenant_lifecycle.cli.output import Output
from tenant_lifecycle.cli.service import Lifecycle
from tenant_lifecycle.cli.tree import ASCII, UNICODE, Glyphs, tree

FRAMES_PER_S = 4
#: How often it is looked whether waiting is over.
LOOK_S = 0.05
LATEST_EVENTS = 5
#: Where nothing is redrawn: how often a line says how far it is while nothing else changes.
PROGRESS_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Watched:
    """How watching ended."""

    code: ExitCode
    #: The last snapshot that was seen.
    document: documents.Document


def snapshot(service: Lifecycle, operation_id: str, *, events: int = LATEST_EVENTS) -> documents.Document:
    """The operation as it is now, as a document."""
    operation = service.operation(operation_id)
    latest = service.latest_events(operation.id, events) if events else []
    return documents.snapshot(
        operation, service.steps(operation.id), service.steps_ahead(operation.id), latest, time.time()
    )


def watch(
    service: Lifecycle,
    operation_id: str,
    goal: Goal,
    out: Output,
    *,
    timeout_s: float | None = None,
    talk: bool = True,
) -> Watched:
    """Look on until the goal is reached, the time is over, or Ctrl-C.

    ``talk``: what is seen is only talk (stderr), because the command has a result of its own to print; else
    lines of text and JSON are data (stdout). The redrawn tree is always on stderr.
    """
    with _screen(out, talk) as screen:
        return _follow(service, operation_id, goal, screen, timeout_s)


def _follow(
    service: Lifecycle, operation_id: str, goal: Goal, screen: Screen, timeout_s: float | None
) -> Watched:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    seen, drawn_at = 0, 0.0
    document: documents.Document = {}
    try:
        while True:
            # The operation is read before its steps: one that is over has all its steps by then.
            operation = service.operation(operation_id)
            steps = service.steps(operation_id)
            code = goal.reached(operation, steps)
            if code is None and deadline is not None and time.monotonic() >= deadline:
                code = ExitCode.TIMEOUT
            if code is not None or time.monotonic() - drawn_at >= 1 / FRAMES_PER_S:
                drawn_at = time.monotonic()
                ahead = service.steps_ahead(operation_id)
                latest = service.latest_events(operation_id, LATEST_EVENTS)
                document = documents.snapshot(operation, steps, ahead, latest, time.time())
                for event in service.events(operation_id, after=seen):
                    seen = event.seq
                    screen.event(documents.event_document(event))
                screen.draw(document, final=code is not None)
            if code is not None:
                return Watched(code, document)
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return Watched(ExitCode.DETACHED, document)


class Screen(Protocol):
    """Where what is seen goes."""

    def event(self, document: documents.Document) -> None:
        """One line of history."""

    def draw(self, document: documents.Document, *, final: bool) -> None:
        """The operation as it is."""


@contextmanager
def _screen(out: Output, talk: bool) -> Iterator[Screen]:
    if out.json:
        yield JsonLines((lambda _document: None) if talk else out.json_line)
    elif out.live:
        with Live(console=out.talk, auto_refresh=False, vertical_overflow="crop") as live:
            yield Picture(live, out)
    else:
        yield Lines(out.say if talk else lambda line: out.lines([line]))


@dataclass(slots=True)
class Picture:
    """The tree, redrawn in place."""

    live: Live
    out: Output

    def event(self, document: documents.Document) -> None:
        """Events are part of the picture."""

    def draw(self, document: documents.Document, *, final: bool) -> None:  # noqa: ARG002
        console = self.out.talk
        self.live.update(Group(*tree(document, console.width, glyphs(console.encoding))), refresh=True)


@dataclass(slots=True)
class Lines:
    """One line per event, and one now and then to say how far it is."""

    say: Callable[[str], None]
    _told: str = ""
    _told_at: float = 0.0

    def event(self, document: documents.Document) -> None:
        self._told_at = time.monotonic()
        self.say(event_line(document))

    def draw(self, document: documents.Document, *, final: bool) -> None:
        due = time.monotonic() - self._told_at >= PROGRESS_INTERVAL_S
        line = progress_line(document)
        if line != self._told and (due or final):
            self._told, self._told_at = line, time.monotonic()
            self.say(line)


@dataclass(slots=True)
class JsonLines:
    """One JSON object per change, each with a ``message_type``; the last is the ``summary``."""

    write: Callable[[documents.Document], None]
    _told: Any = None
    _told_at: float = 0.0

    def event(self, document: documents.Document) -> None:
        self.write({"message_type": "event", **document})

    def draw(self, document: documents.Document, *, final: bool) -> None:
        if final:
            self.write({"message_type": "summary", **document})
            return
        told = [
            document["operation"]["state"],
            [(s["key"], s["done"], s["detail"]) for s in document["steps"]],
        ]
        if told != self._told and time.monotonic() - self._told_at >= 1.0:
            self._told, self._told_at = told, time.monotonic()
            self.write({"message_type": "progress", **document})


def progress_line(document: documents.Document) -> str:
    """``14:02:11  running  62 %  copy: 2 600 123/4 182 330``: the state, and the step that is at work."""
    operation = document["operation"]
    begun = [step for step in document["steps"] if step["status"] != "done"]
    line = f"{document['at'][11:19]}  {operation['state']}"
    if begun:
        step = begun[-1]
        line += f"  {step['key']}"
        if step["done"] is not None and step["total"]:
            line += f"  {100 * step['done'] // step['total']} %  {step['done']}/{step['total']}"
    return f"{line}  {document['why']}"


def glyphs(encoding: str) -> Glyphs:
    """Marks that text in this encoding can show."""
    return UNICODE if encoding.lower().replace("-", "") in ("utf8", "utf16") else ASCII
