"""``tenantctl archiver``: the process that archives every change, and how it is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import typer

from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat, table
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.findings import Severity

archiver_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The archiver: every change of every tenant into the repository.",
)


@archiver_app.command()
def run(ctx: typer.Context) -> None:
    """Archive every environment's stores, until SIGTERM or Ctrl-C.

    One per installation. Ending it is always safe: the databases keep what it has not read, and the next one goes
    on there. As long as none runs, they keep everything, so watch `archiver status`.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        invocation.output(False).say("archiver runs; end it with SIGTERM or Ctrl-C")
        service.archive(stop)


@archiver_app.command()
def status(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show how far each log is archived, and what somebody has to look at.

    Exit code 6 if no archiver runs on this host, or one of its logs has an alarm.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        document = service.archiver_status()
    invocation.output(as_json(json, output)).data(document, status_lines(document))
    if alarmed(document):
        raise typer.Exit(ExitCode.REFUSED)


def alarmed(document: Mapping[str, Any]) -> bool:
    """Whether somebody has to do something."""
    findings = [finding for log in document["logs"] for finding in log["findings"]]
    refused = any(finding["severity"] == Severity.REFUSAL for finding in findings)
    return not document["running"] or refused or any(log["trouble"] for log in document["logs"])


def status_lines(document: Mapping[str, Any]) -> list[str]:
    """For people."""
    if not document["running"]:
        head = "no archiver runs on this host: the databases keep every change until one does"
    else:
        head = f"the archiver runs, process {document['pid']}"
    rows = [
        (log["log"], _behind(log["complete_until_us"]), log["trouble"] or "-") for log in document["logs"]
    ]
    findings = [
        f"{finding['severity']}: {finding['subject']}: {finding['message']}; {finding['next_step']}"
        for log in document["logs"]
        for finding in log["findings"]
    ]
    return [head, *(table(("LOG", "BEHIND", "TROUBLE"), rows) if rows else []), *findings]


def _behind(complete_us: int | None) -> str:
    return (
        "nothing yet" if complete_us is None else format_duration(max(time.time() - complete_us / 1e6, 0.0))
    )
