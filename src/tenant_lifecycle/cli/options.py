"""Options that many commands share, written once so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from tenant_lifecycle.cli.output import OutputFormat
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.gates_file import parse_steps
from tenant_lifecycle.model.durations import parse_duration


def duration(text: str) -> float:
    """Parser of options that take ``30m``."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def steps(text: str | None) -> tuple[int, ...] | None:
    """What ``--steps 10,25,50`` says; None if it was not given."""
    try:
        return None if text is None else parse_steps(text)
    except ValueError as exc:
        raise UsageError(f"--steps: {exc}") from exc


Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]
OperationId = Annotated[
    str,
    typer.Argument(
        metavar="OPERATION",
        help="An operation's id, the beginning of one, or a tenant (its active or newest operation).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; short for -o json.")]
Format = Annotated[OutputFormat, typer.Option("--output", "-o", help="What stands on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Kept in the history: a change number, a ticket.")
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Stay until it happened; the exit code is the outcome.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration,
        help="With --wait: leave after this time (exit code 8).",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Confirm = Annotated[
    str | None,
    typer.Option("--confirm", metavar="TENANT", help="The tenant's id, instead of typing it when asked."),
]


def as_json(json: bool, output: OutputFormat) -> bool:
    """Whether either way of asking for JSON was used."""
    return json or output is OutputFormat.JSON


#: Which request to erase a tenant a command is about.
ErasureRequest = Annotated[
    str,
    typer.Argument(
        metavar="REQUEST", help="A request's id, the beginning of one, or a tenant (its newest request)."
    ),
]
