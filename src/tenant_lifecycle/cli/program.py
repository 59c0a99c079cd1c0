"""The program: every command group under one name, and what becomes of errors."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tenant_lifecycle import logs
from tenant_lifecycle.cli import starting, worker
from tenant_lifecycle.cli.archiver import archiver_app
from tenant_lifecycle.cli.audit import audit_app
from tenant_lifecycle.cli.backup import backup_app
from tenant_lifecycle.cli.clone import clone_app
from tenant_lifecycle.cli.demo import demo
from tenant_lifecycle.cli.drill import drill_app
from tenant_lifecycle.cli.erase import erase_app
from tenant_lifecycle.cli.errors import report, report_unexpected, report_usage
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.hold import hold_app
from tenant_lifecycle.cli.invocation import Invocation, Opener
from tenant_lifecycle.cli.map import map_app
from tenant_lifecycle.cli.migrate import migrate_app
from tenant_lifecycle.cli.op import op_app
from tenant_lifecycle.cli.output import wants_json
from tenant_lifecycle.cli.restore import restore_app
from tenant_lifecycle.cli.sandbox import sandbox_app
from tenant_lifecycle.cli.service import Lifecycle
from tenant_lifecycle.cli.tenant import tenant_app
from tenant_lifecycle.cli.traffic import traffic_app
from tenant_lifecycle.cli.verify import verify
from tenant_lifecycle.config import VARIABLE
from tenant_lifecycle.errors import LifecycleError

app = typer.Typer(
    name="tenantctl",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Move one tenant of a live database to another environment without downtime, and back.",
)
app.command()(starting.init)
app.command()(starting.doctor)
app.add_typer(migrate_app, name="migrate")
app.command()(verify)
app.add_typer(erase_app, name="erase")
app.add_typer(hold_app, name="hold")
app.add_typer(backup_app, name="backup")
app.add_typer(restore_app, name="restore")
app.add_typer(clone_app, name="clone")
app.add_typer(op_app, name="op")
app.add_typer(tenant_app, name="tenant")
app.add_typer(map_app, name="map")
app.add_typer(traffic_app, name="traffic")
app.add_typer(audit_app, name="audit")
app.add_typer(worker.worker_app, name="worker")
app.add_typer(archiver_app, name="archiver")
app.add_typer(starting.config_app, name="config")
app.command()(starting.version)
app.command()(demo)
app.add_typer(drill_app, name="drill")
app.add_typer(sandbox_app, name="sandbox")


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=VARIABLE,
            metavar="FILE",
            help="The configuration; default ./lifecycle.yaml.",
        ),
    ] = None,
    log_format: Annotated[
        logs.LogFormat, typer.Option("--log-format", help="Log lines on stderr as text or JSON.")
    ] = logs.LogFormat.TEXT,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Log more; twice: everything.", show_default=False),
    ] = 0,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
) -> None:
    """Move one tenant of a live database to another environment without downtime, and back."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logs.configure(format=log_format, level=level)
    ctx.obj = Invocation(config, not no_color, ctx.obj or open_lifecycle)


def open_lifecycle(path: Path) -> Lifecycle:
    """Open the service of a configuration file."""
    # Imported late: the drivers take half a second, which --help and completion do not have.
    from tenant_lifecycle import wiring

    return wiring.open_lifecycle(path)


def main(arguments: Sequence[str] | None = None, *, opener: Opener = open_lifecycle) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    json = wants_json(given)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An arrow or a tenant's name that the encoding lacks is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=given, prog_name="tenantctl", standalone_mode=False, obj=opener)
        return int(code or ExitCode.OK)
    except LifecycleError as error:
        return report(error, json)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.DETACHED
    except BrokenPipeError:
        # The reader of our output left (`| head`): not worth a word, but Python would say some at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except TyperException as error:
        return report_usage(error, json)
    except Exception as error:
        return report_unexpected(error, json)
