"""Write the generated pages of docs/reference: run ``python docs/generate.py`` after changing what they show.

A test compares the pages with what this would write, so they cannot lag behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tenant_lifecycle import errors
from tenant_lifecycle.cli import app
from tenant_lifecycle.cli.exit_codes import ERRORS, MEANINGS, OUTCOMES

REFERENCE = Path(__file__).with_name("reference")
WIDTH = 96


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    return {"cli.md": cli_page(), "errors.md": errors_page(), "exit-codes.md": exit_codes_page()}


def cli_page() -> str:
    """The help of every command."""
    lines = [
        "# Commands",
        "",
        "What `--help` says, command by command. Data goes to stdout, talk to stderr; `--json` (or `-o json`)",
        "prints one JSON document instead of text, and errors as a JSON object on stderr. Fields may be added to",
        "a document, none is taken away. Exit codes: [exit-codes.md](exit-codes.md).",
    ]
    for path, text in helps():
        lines += ["", f"## {path}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def helps() -> Iterator[tuple[str, str]]:
    """Path and help text of every command and group, depth first."""
    yield from _helps(typer.main.get_command(app), "tenantctl", None)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=name, parent=parent, terminal_width=WIDTH)
    # Groups of other modules may ask for boxes and colours, which a page cannot show.
    command.rich_markup_mode = None
    text = command.get_help(context)
    yield context.command_path, "\n".join(line.rstrip() for line in text.strip().splitlines())
    for child_name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _helps(child, child_name, context)


def errors_page() -> str:
    """Every error class: what it means, whether waiting helps, and the exit code."""
    lines = [
        "# Errors",
        "",
        "Every error names the thing and the cause, and says in `next_step` what to do about it. The class says",
        "who can fix it; *retryable* errors are tried again by the engine, with growing pauses, before anybody is",
        "asked.",
        "",
        "| error | means | retryable | exit code |",
        "|---|---|---|---|",
    ]
    for cls, depth in _tree(errors.LifecycleError, 0):
        indent = "&nbsp;&nbsp;" * depth
        meaning = (inspect.getdoc(cls) or "").splitlines()[0]
        retryable = "yes" if cls.retryable else "no"
        lines.append(f"| {indent}`{cls.__name__}` | {meaning} | {retryable} | {int(ERRORS[cls])} |")
    return "\n".join(lines) + "\n"


def _tree(cls: type[errors.LifecycleError], depth: int) -> Iterator[tuple[type[errors.LifecycleError], int]]:
    """The class and what is derived from it in `errors`, in the order of the file."""
    yield cls, depth
    for child in vars(errors).values():
        if isinstance(child, type) and child.__base__ is cls:
            yield from _tree(child, depth + 1)


def exit_codes_page() -> str:
    """What each exit code means, and which states of an operation end waiting with it."""
    lines = [
        "# Exit codes",
        "",
        "One per cause, so that a script can tell a refusal from a failure without reading text. A code that a",
        "script does not know means that it failed. An operation that failed ends `--wait` with the code of its",
        "cause ([errors.md](errors.md)).",
        "",
        "| code | means | waiting for an operation ended in |",
        "|---|---|---|",
    ]
    for code, meaning in MEANINGS.items():
        states = ", ".join(state.value for state, ends in OUTCOMES.items() if ends is code)
        lines.append(f"| {int(code)} | {meaning} | {states} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
