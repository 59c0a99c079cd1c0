"""``tenantctl worker``: a process that drives operations."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.invocation import of

worker_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Processes that drive operations.")


@worker_app.command()
def run(
    ctx: typer.Context,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Operations driven at once.")] = 4,
    idle_exit: Annotated[
        float | None,
        typer.Option(
            "--idle-exit", metavar="DURATION", parser=options.duration, help="End after so long without work."
        ),
    ] = None,
) -> None:
    """Drive whatever operation is ready, until SIGTERM or Ctrl-C.

    One per host and configuration; any number of hosts that reach the control database. Ending it is always
    safe: another takes over where it was.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        invocation.output(False).say("worker runs; end it with SIGTERM or Ctrl-C")
        service.work(stop, parallel=parallel, idle_exit_s=idle_exit)
