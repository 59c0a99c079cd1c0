"""``tenantctl map``: which rows are whose; propose it, prove it, draw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tenant_lifecycle import ownership_file
from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import Line, NextStep, OutputFormat, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.mapreport import MapReport
from tenant_lifecycle.model.maptree import draw
from tenant_lifecycle.model.proposal import Proposal, Proposed

map_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Which rows are whose.")
Environment = Annotated[
    str | None, typer.Option("--environment", "-e", metavar="ENVIRONMENT", help="By default see below.")
]


@map_app.command()
def discover(
    ctx: typer.Context,
    environment: Environment = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Propose ownership.yaml from a live database (of the first environment), with the evidence for each rule.

    Reads samples and changes nothing. Redirect it into a file, decide what it left undecided, and prove it.
    """
    from tenant_lifecycle.wiring import maps  # late: the drivers

    invocation = of(ctx)
    name, proposal = maps.discover_map(invocation.config_file(), environment)
    out = invocation.output(as_json(json, output))
    for remark in proposal.remarks:
        out.say(f"{name}: {remark}")
    left = len(proposal.undecided)
    steps = [
        NextStep("tenantctl map check", f"proves it; {left} tables are undecided" if left else "proves it")
    ]
    out.data(proposal_document(name, proposal), proposal_text(proposal).splitlines(), steps)


@map_app.command()
def check(
    ctx: typer.Context,
    environment: Environment = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Prove ownership.yaml on the live databases (of every environment): each row has one owner, none is forgotten.

    Reads every row of the owned tables once. Exit code 6 if the map must not be used.
    """
    from tenant_lifecycle.wiring import maps  # late: the drivers

    invocation = of(ctx)
    reports = maps.check_maps(invocation.config_file(), environment)
    proven = all(report.proven for report in reports.values())
    document = {
        "proven": proven,
        "stores": {name: report_document(report) for name, report in reports.items()},
    }
    lines = [line for name, report in reports.items() for line in report_lines(name, report)]
    invocation.output(as_json(json, output)).data(document, lines)
    if not proven:
        raise typer.Exit(int(ExitCode.REFUSED))


@map_app.command()
def show(
    ctx: typer.Context,
    environment: Environment = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Draw ownership.yaml as a tree; with an environment, also the tables there that it does not mention."""
    from tenant_lifecycle.wiring import maps  # late: the drivers

    invocation = of(ctx)
    map_, unmapped = maps.read_map(invocation.config_file(), environment)
    lines = draw(map_, unmapped)
    document = {"tree": lines, "unmapped": [str(name) for name in sorted(unmapped)]}
    invocation.output(as_json(json, output)).data(document, lines)


@map_app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of ownership.yaml, for editors."""
    of(ctx).output(False).lines(ownership_file.json_schema_text().splitlines())


def proposal_text(proposal: Proposal) -> str:
    """The proposal as a file, evidence and undecided tables as comments."""
    return ownership_file.render(
        proposal.map,
        {item.table: item.comments() for item in proposal.tables},
        [ownership_file.Undecided(item.table, item.comments()) for item in proposal.undecided],
    )


def proposal_document(name: str, proposal: Proposal) -> dict[str, Any]:
    """The proposal as JSON."""
    return {
        "store": name,
        "schema_template": proposal.schema_template,
        "remarks": list(proposal.remarks),
        "tables": [_proposed_document(item) for item in proposal.tables],
        "undecided": [str(item.table) for item in proposal.undecided],
    }


def _proposed_document(item: Proposed) -> dict[str, Any]:
    return {
        "table": str(item.table),
        "rule": ownership_file.rule_document(item.rule) if item.rule is not None else None,
        "confidence": item.confidence,
        "evidence": list(item.evidence),
        "alternatives": [
            {"rule": ownership_file.rule_document(rule), "confidence": confidence, "evidence": said}
            for rule, confidence, said in item.alternatives
        ],
    }


def report_document(report: MapReport) -> dict[str, Any]:
    """A proof as JSON."""
    return {
        "proven": report.proven,
        "tables": [
            {
                "table": str(item.table), "rows": item.rows, "owned": item.owned, "ownerless": item.ownerless,
                "dangling": item.dangling, "disputed": item.disputed, "shared": item.shared,
            }
            for item in report.tables
        ],
        "findings": documents.findings_document(report.findings),
    }  # fmt: skip


def report_lines(name: str, report: MapReport) -> Iterator[Line]:
    """A proof for people: the numbers, what is wrong, and the verdict."""
    yield name
    rows = [
        (
            str(item.table),
            *(f"{n:,}" for n in (item.rows, item.owned, item.orphans, item.disputed, item.shared)),
        )
        for item in report.tables
    ]
    if rows:
        header = ("TABLE", "ROWS", "OWNED", "ORPHANS", "DISPUTED", "IN MORE TENANTS")
        yield from table(header, rows, right=(1, 2, 3, 4, 5))
    yield from finding_lines(f for f in report.findings if f.severity is not Severity.OK)
    yield "proven: every row has one owner" if report.proven else "NOT proven: this map must not be used"
