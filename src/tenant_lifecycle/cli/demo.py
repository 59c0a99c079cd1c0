"""``tenantctl demo``: the main job, for real, on servers of its own."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Annotated

import typer

from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.options import Json


def demo(
    json: Json = False,
    scale: Annotated[float, typer.Option(help="1.0 is about 200,000 rows.", min=0.01)] = 1.0,
    flips: Annotated[int, typer.Option(help="Flips in all, odd, at least 3.", min=3)] = 7,
    rate: Annotated[float, typer.Option(help="Writes a second, all writers together.", min=1)] = 200.0,
) -> None:
    """Move a tenant between two PostgreSQL servers under load, back, and forth again; account for every write.

    Starts PostgreSQL 16 and 18 on free ports and removes them at the end. With --json the last line of stdout
    is one JSON object. Exit code 1 if a write failed, was lost or doubled, or a difference was found.
    """
    try:
        from tenant_lifecycle.sandbox.demo import DemoSettings, report_lines, run_demo
    except ModuleNotFoundError as exc:
        raise typer.BadParameter(f"{exc.name} is missing: pip install 'tenant-lifecycle[sandbox]'") from exc
    if flips % 2 == 0:
        raise typer.BadParameter("an even number of flips ends where it began", param_hint="--flips")
    sys.setswitchinterval(0.0005)
    result = run_demo(
        DemoSettings(scale=scale, flips=flips, rate=rate), lambda line: print(line, file=sys.stderr)
    )
    for line in report_lines(result):
        print(line, file=sys.stderr if json else sys.stdout)
    if json:
        print(jsonlib.dumps(result.as_json()))
    if not result.ok:
        raise typer.Exit(int(ExitCode.FAILED))
