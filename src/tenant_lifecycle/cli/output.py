"""Where words go: data to stdout, talk to stderr; text for people or one JSON document for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.text import Text

#: A line for people; styles are dropped where there is no colour.
Line = str | Text


class OutputFormat(StrEnum):
    """What stands on stdout."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command that makes sense now, and why."""

    command: str
    why: str = ""

    def as_json(self) -> dict[str, str]:
        return {"command": self.command, "why": self.why}


@dataclass(slots=True)
class Output:
    """How one command speaks. Data is written once; talk as often as there is something to say."""

    json: bool = False
    color: bool = True
    _stdout: Console = field(init=False)
    _stderr: Console = field(init=False)

    def __post_init__(self) -> None:
        no_color = None if self.color else True
        self._stdout = Console(file=sys.stdout, no_color=no_color, highlight=False, markup=False, emoji=False)
        self._stderr = Console(file=sys.stderr, no_color=no_color, highlight=False, markup=False, emoji=False)

    @property
    def live(self) -> bool:
        """Whether a picture on stderr may be redrawn: a terminal, not dumb, not a CI job."""
        return self._stderr.is_terminal and not self._stderr.is_dumb_terminal and not os.environ.get("CI")

    @property
    def encoding(self) -> str:
        """In which data is written."""
        return self._stdout.encoding

    @property
    def talk(self) -> Console:
        """The console on stderr."""
        return self._stderr

    def data(
        self, document: Mapping[str, Any], lines: Iterable[Line], next_steps: Sequence[NextStep] = ()
    ) -> None:
        """The result of a command: the document with ``next_steps`` in it, or the lines with ``Next:`` after."""
        if self.json:
            self.json_line({**document, "next_steps": [step.as_json() for step in next_steps]})
            return
        self.lines(lines)
        self.next(next_steps)

    def json_line(self, document: Mapping[str, Any]) -> None:
        """One JSON object on one line of stdout, written at once; ASCII, which every encoding can say."""
        print(json.dumps(document), flush=True)

    def lines(self, lines: Iterable[Line]) -> None:
        """Lines of text on stdout, never wrapped."""
        for line in lines:
            self._stdout.print(_safe(line), soft_wrap=True)

    def say(self, line: Line) -> None:
        """Talk: something a person likes to know and a program does not need."""
        self._stderr.print(_safe(line), soft_wrap=True)

    def next(self, steps: Sequence[NextStep]) -> None:
        """What to do next, as talk."""
        if not self.json:
            for index, step in enumerate(steps):
                head = "Next: " if index == 0 else "      "
                self.say(f"{head}{step.command}" + (f"    {step.why}" if step.why else ""))


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; needed where the line itself is wrong and cannot be parsed."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    return any(
        one in ("--json", "--output=json", "-ojson") or (one in ("-o", "--output") and two == "json")
        for one, two in pairs
    )


def one_line(text: str) -> str:
    """A message of a server or a driver without its line breaks."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """The text without what a terminal would obey: tenants' ids and servers' words are not ours.

    Control characters and those that change the direction of writing become ``\\x1b`` and ``\\u202e``.
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def styled(text: str, style: str) -> Text:
    """A line in one style; what a terminal would obey is made visible before anything of it is dropped."""
    return Text(printable(text), style)


def _safe(line: Line) -> Text:
    if isinstance(line, str):
        return Text(printable(line))
    clean = printable(line.plain)
    # Spans count characters; where an escape made the text longer they would be off, so colour goes.
    return line if clean == line.plain else Text(clean)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Aligned columns, two spaces apart, never cut or wrapped; ``right`` are the columns of numbers."""
    cells = [[printable(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    numbers = frozenset(right)

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return [line(row) for row in cells]


def count_text(number: int, *, exact: bool = True) -> str:
    """``4 182 330``, or ``~4 182 330`` where it is an estimate."""
    return ("" if exact else "~") + f"{number:,}".replace(",", " ")


def bytes_text(size: float) -> str:
    """``11.2 GB``, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
