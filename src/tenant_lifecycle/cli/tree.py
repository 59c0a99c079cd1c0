"""The picture of one operation: a pure function from its snapshot document to lines.

The same document that ``--json`` prints is drawn, so every face shows the same tree. A status is always a
word; marks and colours only repeat it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from tenant_lifecycle.cli.gates_text import gate_lines, share_text
from tenant_lifecycle.cli.history import event_line
from tenant_lifecycle.cli.output import bytes_text, count_text, one_line, printable
from tenant_lifecycle.model.durations import format_duration

#: Sets shown below a running step; the rest is summed up in one line.
MOST_SETS = 12


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks of one terminal."""

    branch: str
    last: str
    bar: str
    arrow: str
    cut: str
    dot: str
    done: str
    running: str
    failed: str
    ahead: str


UNICODE = Glyphs("├─ ", "└─ ", "│  ", "→", "…", " · ", "✔", "▶", "✗", "○")
ASCII = Glyphs("|- ", "`- ", "|  ", "->", "...", ", ", "+", ">", "x", "o")

_STYLES = {"done": "green", "running": "cyan", "waiting": "yellow", "failed": "bold red", "unknown": "bold red", "ahead": "dim"}  # fmt: skip
_STATE_STYLES = {
    "succeeded": "bold green", "attention": "bold red", "failed": "bold red", "paused": "yellow", "running": "cyan",
}  # fmt: skip


def tree(document: Mapping[str, Any], width: int = 80, glyphs: Glyphs = UNICODE) -> list[Text]:
    """Draw a snapshot (`documents.snapshot`) in lines of at most ``width`` columns, at least 40."""
    width = max(40, width)
    lines = [*_header(document, glyphs), *_steps(document, glyphs), *_footer(document, width)]
    for line in lines:
        if line.cell_len > width:
            line.truncate(width - len(glyphs.cut))
            line.append(glyphs.cut)
    return lines


def _header(document: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Text]:
    operation, now = document["operation"], _when(document["at"])
    began = _when(operation["started_at"] or operation["created_at"])
    ended = _when(operation["finished_at"]) if operation["finished_at"] else now
    head = Text.assemble(
        (f"{operation['kind']} {printable(operation['tenant'])}", "bold"), _way(operation["spec"], glyphs), "  ",
        (operation["state"], _STATE_STYLES.get(operation["state"], "")), f"  {format_duration(ended - began)}",
        f"  {operation['id']}",
    )  # fmt: skip
    yield head
    if operation["owner"]:
        lease = _when(operation["lease_until"]) - now
        left = f"lease {lease:.0f} s" if lease > 0 else "lease over"
        yield Text(
            f"   driver {printable(operation['owner'])}{glyphs.dot}{left}{glyphs.dot}token {operation['token']}",
            "dim",
        )


def _way(spec: Mapping[str, Any], glyphs: Glyphs) -> str:
    if not spec.get("source") or not spec.get("target"):
        return ""
    return f"  {printable(str(spec['source']))} {glyphs.arrow} {printable(str(spec['target']))}"


def _steps(document: Mapping[str, Any], glyphs: Glyphs) -> Iterator[Text]:
    steps, ahead = document["steps"], document["ahead"]
    titles = [printable(step["title"]) for step in (*steps, *ahead)]
    column = min(44, max((len(title) for title in titles), default=0))
    rows = [_step_lines(step, column, document, glyphs) for step in steps]
    rows += [[_row(glyphs.ahead, step["title"], column, "ahead", "")] for step in ahead]
    for index, (head, *below) in enumerate(rows):
        last = index == len(rows) - 1
        yield Text.assemble(glyphs.last if last else glyphs.branch, head)
        for line in below:
            yield Text.assemble(" " * len(glyphs.bar) if last else glyphs.bar, line)


def _step_lines(
    step: Mapping[str, Any], column: int, document: Mapping[str, Any], glyphs: Glyphs
) -> list[Text]:
    now = _when(document["at"])
    status = _word(step, document["operation"])
    took = (_when(step["done_at"]) if step["done_at"] else now) - _when(step["first_at"])
    facts = [format_duration(took), *(_done_facts(step["output"] or {}) if status == "done" else ())]
    if step["attempt"] > 1 and status != "done":
        facts.append(f"attempt {step['attempt']}")
    mark = {"done": glyphs.done, "failed": glyphs.failed, "unknown": glyphs.failed}.get(
        status, glyphs.running
    )
    lines = [_row(mark, step["title"], column, status, glyphs.dot.join(facts))]
    if status == "done":
        return lines
    progress = glyphs.dot.join(_progress_facts(step))
    below = [Text(progress)] if progress else []
    if step["error"] is not None:
        below.append(Text(_error_text(step, now), _STYLES["failed"]))
    below += _set_lines(step["detail"])
    shares = share_text(step["detail"])
    below += [Text(line) for line in (*([shares] if shares else ()), *gate_lines(step["detail"]))]
    for index, line in enumerate(below):
        lines.append(Text.assemble(glyphs.last if index == len(below) - 1 else glyphs.branch, line))
    return lines


def _row(mark: str, title: str, column: int, status: str, facts: str) -> Text:
    style = _STYLES[status]
    word = "" if status == "ahead" else status
    row = Text.assemble(
        (f"{mark} {_cut(printable(title), column):<{column}}", style),
        "  ",
        (f"{word:<7}", style),
        f"  {facts}",
    )
    row.rstrip()
    return row


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2] + ".."


def _word(step: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """What a step is doing, in one word, which depends on the operation's state too."""
    if step["status"] in ("done", "failed", "unknown"):
        return str(step["status"])
    waits = (
        step["kind"] == "wait" or step["status"] == "waiting" or operation["state"] in ("paused", "attention")
    )
    return "waiting" if waits else "running"


#: Numbers in a finished step's output that are worth a word.
_COUNTS = {"items": "items", "applied": "changes", "created": "created", "removed": "removed"}


def _done_facts(output: Mapping[str, Any]) -> Iterator[str]:
    """What is worth a word of a finished step's output; outputs of other kinds show nothing."""
    timing = output.get("timing")
    if isinstance(timing, Mapping) and "pause_ms" in timing:
        yield f"pause {timing['pause_ms']:.1f} ms"
    if isinstance(output.get("differences"), int):
        yield f"{output['differences']} differences"
    for key, word in _COUNTS.items():
        if isinstance(output.get(key), int):
            yield f"{count_text(output[key])} {word}"
    if isinstance(output.get("bytes"), int):
        yield bytes_text(output["bytes"])
    if isinstance(output.get("detect_to_traffic_back_ms"), int | float):
        yield f"back {output['detect_to_traffic_back_ms']:.0f} ms after the deciding look"
    if output.get("next") == "back":
        yield printable(one_line(str(output["why"])))
    if output.get("repaired"):
        yield f"{output['repaired']} repaired"
    if output.get("writer"):
        yield f"writer {printable(str(output['writer']))}"
    if isinstance(output.get("attempts"), int) and output["attempts"] > 1:
        yield f"{output['attempts']} attempts"


def _progress_facts(step: Mapping[str, Any]) -> Iterator[str]:
    done, total, detail = step["done"], step["total"], step["detail"]
    if done is not None and total:
        yield f"{100 * done // total} %"
        yield f"{count_text(done)}/{count_text(total, exact=step['exact'])}"
    elif done:
        yield count_text(done)
    if detail.get("items_per_s"):
        yield f"{count_text(round(detail['items_per_s']))}/s"
    if detail.get("bytes_per_s"):
        yield f"{bytes_text(detail['bytes_per_s'])}/s"
    if detail.get("lag_s") is not None:
        yield f"lag {format_duration(detail['lag_s'])}"
    for key, word in (("waiting", "waiting"), ("dirty", "to compare")):
        if detail.get(key):
            yield f"{count_text(detail[key])} {word}"
    if detail.get("eta_s") is not None:
        yield f"ETA {format_duration(detail['eta_s'])}"
    if detail.get("ready") is not None:
        yield "ready to flip" if detail["ready"] else "not ready to flip"


def _set_lines(detail: Mapping[str, Any]) -> list[Text]:
    """One line per table: ``[done, total]`` while copying, items while verifying."""
    sets: Mapping[str, Any] = detail.get("sets") or detail.get("verified") or {}
    names = list(sets)[:MOST_SETS]
    if not names:
        return []
    column = min(40, max(len(printable(name)) for name in names))
    lines = [Text(f"{_cut(printable(name), column):<{column}}  {_set_text(sets[name])}") for name in names]
    if len(sets) > len(names):
        lines.append(Text(f"and {len(sets) - len(names)} more"))
    return lines


def _set_text(value: Any) -> str:
    if isinstance(value, Sequence) and len(value) == 2:
        done, total = value
        share = 100 * done // total if total else 100
        return f"{share:>3} %  {count_text(done)}/{count_text(total)}"
    return f"{count_text(int(value))} items"


def _error_text(step: Mapping[str, Any], now: float) -> str:
    text = printable(one_line(step["error"]["message"]))
    if step["next_try_at"]:
        text += f"; next try in {format_duration(max(0.0, _when(step['next_try_at']) - now))}"
    return text


def _footer(document: Mapping[str, Any], width: int) -> Iterator[Text]:
    """The sentence that says why is never cut, only broken into lines."""
    sentence = textwrap.wrap(printable(document["why"]), width - len("Why: ")) or [""]
    for index, line in enumerate(sentence):
        yield Text.assemble(("Why: " if index == 0 else "     ", "bold"), line)
    for event in document["events"]:
        yield Text(printable(event_line(event)), "dim")


def _when(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
