"""``tenantctl drill``: rehearse a failure on servers of its own."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenant_lifecycle.sandbox.drills import Drill

drill_app = typer.Typer(no_args_is_help=True, help="Rehearse failures on servers of their own.")


def _drills() -> Mapping[str, Drill]:
    try:
        from tenant_lifecycle.sandbox.drills import DRILLS
    except ModuleNotFoundError as exc:
        raise typer.BadParameter(f"{exc.name} is missing: pip install 'tenant-lifecycle[sandbox]'") from exc
    return DRILLS


@drill_app.command("list")
def list_drills(json: Json = False) -> None:
    """Failures that can be rehearsed."""
    drills = _drills()
    if json:
        print(jsonlib.dumps([{"name": name, "summary": drill.summary} for name, drill in drills.items()]))
        return
    for name, drill in drills.items():
        print(f"{name:<22} {drill.summary}")


@drill_app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="One of `tenantctl drill list`, or `all`.")],
    json: Json = False,
) -> None:
    """Break something, see it detected, and see what is left to a person.

    Starts servers on free ports and removes them at the end. Exit code 1 if the failure was not detected or a
    promise did not hold.
    """
    drills = _drills()
    if name != "all" and name not in drills:
        raise typer.BadParameter(f"no drill {name!r}; there are {', '.join(drills)}", param_hint="NAME")
    ok = True
    for one in drills if name == "all" else [name]:
        print(f"drill {one}: {drills[one].summary}", file=sys.stderr)
        report = drills[one].run(lambda line: print(f"  {line}", file=sys.stderr))
        ok = ok and report.ok
        if json:
            print(jsonlib.dumps(report.as_json()))
        else:
            print("\n".join(report.lines()))
    if not ok:
        raise typer.Exit(int(ExitCode.FAILED))
