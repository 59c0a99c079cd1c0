"""``tenantctl demo``: the main job, for real, on servers of its own."""

from __future__ import annotations

import json as jsonlib
import sys
from enum import StrEnum
from typing import Annotated

import typer

from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.options import Json


class DemoPart(StrEnum):
    """What of the demonstration is run."""

    ALL = "all"
    #: Rows only, under heavy writing, with many flips.
    DATABASE = "database"
    #: Rows, keys, vectors and objects under people's requests, behind a router with gates.
    WHOLE = "whole"
    #: A tenant erased everywhere, with what was forgotten found, and a certificate.
    ERASE = "erase"
    #: A tenant ruined in every store, and brought back as it was.
    RESTORE = "restore"
    #: A masked copy of a tenant, and one with a leak that does not live.
    CLONE = "clone"


def demo(
    json: Json = False,
    part: Annotated[DemoPart, typer.Option(help="Which part to run.")] = DemoPart.ALL,
    scale: Annotated[float, typer.Option(help="1.0 is about 200,000 rows.", min=0.01)] = 1.0,
    flips: Annotated[int, typer.Option(help="Flips in all, odd, at least 3.", min=3)] = 7,
    rate: Annotated[float, typer.Option(help="Writes a second, all writers together.", min=1)] = 200.0,
) -> None:
    """Move a tenant while it is used, back, and forth again; account for every write; erase a tenant, with proof.

    Part ``database``: PostgreSQL 16 to 18 under heavy writing. Part ``whole``: PostgreSQL, Redis, vectors and
    objects under requests over HTTP, shifted 10 -> 25 -> 50 -> 100 % behind health gates, one of which fails on
    purpose. Part ``erase``: a tenant erased in eight systems with traps planted, what no rule mentions found by the
    search, and a certificate that the offline verifier checks. Part ``restore``: a tenant ruined in every store is
    brought back as it was, held against the ledger. Part ``clone``: a masked copy passes the leak gate, and one with a
    planted leak is destroyed. Servers are started on free ports and removed at
    the end. With --json the last line of stdout is one JSON object. Exit code 1 if a request or a write failed, was
    lost or doubled, a difference was found, something of the erased tenant was left, its certificate is not valid, or a
    leak was not caught.
    """
    try:
        from tenant_lifecycle.sandbox.demo.clone import CloneSettings, clone_lines, run_clone_demo
        from tenant_lifecycle.sandbox.demo.database import DemoSettings, report_lines, run_demo
        from tenant_lifecycle.sandbox.demo.erase import EraseSettings, erase_lines, run_erase_demo
        from tenant_lifecycle.sandbox.demo.restore import RestoreSettings, restore_lines, run_restore_demo
        from tenant_lifecycle.sandbox.demo.whole import WholeSettings, run_whole_demo, whole_lines
    except ModuleNotFoundError as exc:
        raise typer.BadParameter(f"{exc.name} is missing: pip install 'tenant-lifecycle[sandbox]'") from exc
    if flips % 2 == 0:
        raise typer.BadParameter("an even number of flips ends where it began", param_hint="--flips")
    sys.setswitchinterval(0.0005)
    document: dict[str, object] = {}
    ok = True
    for one in [each for each in DemoPart if each is not part.ALL] if part is DemoPart.ALL else [part]:
        if one is DemoPart.DATABASE:
            rows = run_demo(DemoSettings(scale=scale, flips=flips, rate=rate), _say)
            lines, values, held = report_lines(rows), rows.as_json(), rows.ok
        elif one is DemoPart.WHOLE:
            whole = run_whole_demo(WholeSettings(), _say)
            lines, values, held = whole_lines(whole), whole.as_json(), whole.ok
        elif one is DemoPart.RESTORE:
            restored = run_restore_demo(RestoreSettings(), _say)
            lines, values, held = restore_lines(restored), restored.as_json(), restored.ok
        elif one is DemoPart.CLONE:
            cloned = run_clone_demo(CloneSettings(), _say)
            lines, values, held = clone_lines(cloned), cloned.as_json(), cloned.ok
        else:
            erased = run_erase_demo(EraseSettings(), _say)
            lines, values, held = erase_lines(erased), erased.as_json(), erased.ok
        document |= values
        ok = ok and held
        for line in ["", *lines, ""]:
            print(line, file=sys.stderr if json else sys.stdout)
    if json:
        print(jsonlib.dumps(document | {"ok": ok}))
    if not ok:
        raise typer.Exit(int(ExitCode.FAILED))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
