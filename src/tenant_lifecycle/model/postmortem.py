"""The post-mortem of requests that went back: a value, and the two forms it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    #: Seconds since 1970.
    at: float
    what: str


@dataclass(frozen=True, slots=True)
class Postmortem:
    """What was seen, what it was told by, what happened by itself, and what is left to people."""

    operation: str
    #: Counted from 1 over the operation.
    number: int
    tenant: str
    source: str
    target: str
    #: Percent of the requests that the target served.
    percent: int
    #: One sentence.
    seen: str
    #: The gates that failed, and all of them at that moment, as `GateResult.as_json` has them.
    failed: Sequence[Mapping[str, Any]]
    gates: Sequence[Mapping[str, Any]]
    #: By source: what it said of the target and of the other side.
    health: Mapping[str, Any]
    #: From the look that decided to every router having the route.
    detect_to_traffic_back_ms: float | None
    timeline: Sequence[Moment]
    #: What the tool did by itself.
    done: Sequence[str]
    #: What is left to a person.
    to_do: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Postmortem:
        """What `as_json` made."""
        return cls(**{**data, "timeline": [Moment(**moment) for moment in data["timeline"]]})

    def markdown(self) -> str:
        """The form for people; ids and sentences are quoted, so that none of them is taken for a mark."""
        lines = [
            f"# Post-mortem {self.number} of {_plain(self.operation)}",
            "",
            f"Tenant {_code(self.tenant)}, {_plain(self.source)} to {_plain(self.target)}, at {self.percent} % of the requests.",
            "",
            "## What was seen",
            "",
            _plain(self.seen) + ".",
        ]
        if self.detect_to_traffic_back_ms is not None:
            lines += [
                "",
                f"From the deciding look to the traffic being back: {self.detect_to_traffic_back_ms:.0f} ms.",
            ]
        lines += [
            "",
            "## Gates",
            "",
            "| gate | source | verdict | target | other side | limit | |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            _gate_row(gate) for gate in (*self.failed, *(g for g in self.gates if g not in self.failed))
        ]
        lines += ["", "## Timeline", ""]
        lines += [f"- {_moment(moment.at)} {_plain(moment.what)}" for moment in self.timeline]
        lines += ["", "## What happened by itself", "", *(f"- {_plain(line)}" for line in self.done)]
        lines += ["", "## What is left to do", ""]
        lines += [f"{number}. {_plain(line)}" for number, line in enumerate(self.to_do, 1)]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """The form for programs, one document."""
        return json.dumps(self.as_json(), ensure_ascii=False, indent=2) + "\n"


_ESCAPES = {mark: "\\" + mark for mark in "\\`*_[]"} | {"<": "&lt;", ">": "&gt;"}


def _gate_row(gate: Mapping[str, Any]) -> str:
    numbers = [_number(gate.get(name)) for name in ("target", "other", "limit")]
    cells = [gate["gate"], gate.get("source") or "", gate["verdict"], *numbers, gate["sentence"]]
    return "| " + " | ".join(_plain(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    """Text on one line in which Markdown and HTML see no marks."""
    text = " ".join(text.split())
    return "".join(_ESCAPES.get(character, character) for character in text)


def _code(text: str) -> str:
    """A hostile string as code: quoted, in a fence longer than any it has."""
    quoted = json.dumps(text, ensure_ascii=True)
    longest = max((len(run) for run in _runs(quoted)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {quoted} {ticks}" if longest else f"`{quoted}`"


def _runs(text: str) -> list[str]:
    """Every run of backticks."""
    return [run for run in "".join(c if c == "`" else " " for c in text).split() if run]
