"""``tenantctl traffic``: where a tenant's requests go, and whether they really go there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.exit_codes import ExitCode, code_of
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import Line, NextStep, OutputFormat, styled, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.errors import StoreUnavailable, UsageError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.traffic_check import Checked
from tenant_lifecycle.traffic.base import Route, Served
from tenant_lifecycle.traffic.drift import Counted, route_text

if TYPE_CHECKING:
    from tenant_lifecycle.wiring.traffic import Seen

traffic_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where a tenant's requests go.")
_SHARE = re.compile(r"(.+)=([0-9]{1,3})")


@traffic_app.command()
def check(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="By default everybody who has a route.")
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            metavar="DURATION",
            parser=options.duration,
            help="How long requests are counted; 0s looks at the configuration only.",
        ),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Compare what routers were asked to do with what they say they do and with the requests they counted.

    Changes nothing. Exit code 9 if something drifted, 12 if a router gave no answer.
    """
    from tenant_lifecycle.wiring import traffic  # late: the drivers

    invocation = of(ctx)
    found = traffic.check_routes(
        invocation.config_file(), TenantId(tenant) if tenant is not None else None, window
    )
    findings = [finding for checked in found for finding in checked.findings]
    document = {
        "ok": not any(finding.severity is Severity.REFUSAL for finding in findings),
        "checks": [checked_document(checked) for checked in found],
    }
    lines = [line for checked in found for line in checked_lines(checked)] or ["nobody has a route"]
    invocation.output(as_json(json, output)).data(document, lines)
    if (code := _code(findings)) is not ExitCode.OK:
        raise typer.Exit(int(code))


@traffic_app.command()
def get(
    ctx: typer.Context,
    tenant: options.Tenant,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show one tenant's route in every router: asked for, written down, in effect, and what was served by it."""
    from tenant_lifecycle.wiring import traffic  # late: the drivers

    invocation = of(ctx)
    _show(ctx, tenant, traffic.see_routes(invocation.config_file(), TenantId(tenant)), as_json(json, output))


@traffic_app.command("set")
def set_route(
    ctx: typer.Context,
    tenant: options.Tenant,
    writer: Annotated[
        str,
        typer.Option("--writer", metavar="ENVIRONMENT", help="Gets the requests that write."),
    ],
    share: Annotated[
        str,
        typer.Option(
            "--share",
            metavar="SHARES",
            help="Percent of the sessions of all other requests: blue=90,green=10.",
        ),
    ],
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Set one tenant's route in every router; returns when all of them act on it.

    A migration sets routes by itself: this is for mending them, and for tenants that are not moving. The
    databases alone decide who may write; a route to another environment makes writes fail, it loses none.
    """
    from tenant_lifecycle.wiring import traffic  # late: the drivers

    route = parse_route(tenant, writer, share)
    seen = traffic.set_routes(of(ctx).config_file(), route)
    steps = [NextStep("tenantctl traffic check", "whether requests really go there")]
    _show(ctx, tenant, seen, as_json(json, output), steps)


@traffic_app.command()
def clear(
    ctx: typer.Context,
    tenant: options.Tenant,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take one tenant's route out of every router: it goes where requests without a route go."""
    from tenant_lifecycle.wiring import traffic  # late: the drivers

    seen = traffic.clear_routes(of(ctx).config_file(), TenantId(tenant))
    _show(ctx, tenant, seen, as_json(json, output))


def parse_route(tenant: str, writer: str, share: str) -> Route:
    """A route out of a command line.

    Raises:
        UsageError: the shares cannot be read, or do not add up to 100.
    """
    shares: dict[str, int] = {}
    for part in share.split(","):
        match = _SHARE.fullmatch(part.strip())
        if match is None or match[1] in shares:
            raise UsageError(f"--share {share!r} is not like blue=90,green=10")
        shares[match[1]] = int(match[2])
    try:
        return Route(TenantId(tenant), writer, shares)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def _show(
    ctx: typer.Context, tenant: str, found: list[Seen], json: bool, steps: list[NextStep] | None = None
) -> None:
    document = {"tenant": tenant, "routers": [seen_document(seen) for seen in found]}
    lines = [line for seen in found for line in seen_lines(seen)]
    of(ctx).output(json).data(document, lines, steps or [])
    errors = [seen.error for seen in found if seen.error is not None]
    if errors:
        raise typer.Exit(int(code_of(type(errors[0]))))


def _code(findings: list[Finding]) -> ExitCode:
    """Drift before anything else: it was seen, whatever could not be."""
    codes = {finding.code for finding in findings if finding.severity is Severity.REFUSAL}
    if codes & {"traffic.drift-config", "traffic.drift-served"}:
        return ExitCode.DIFFERENCES
    if "traffic.unreachable" in codes:
        return code_of(StoreUnavailable)
    return ExitCode.NOT_ALLOWED if codes else ExitCode.OK


def route_document(route: Route | None) -> documents.Document | None:
    """A route as JSON."""
    return None if route is None else {"writer": route.writer, "share": dict(route.share)}


def seen_document(seen: Seen) -> documents.Document:
    """One tenant in one router as JSON."""
    return {
        "router": seen.router,
        "kind": seen.kind,
        "intended": route_document(seen.intended),
        "written": route_document(seen.written),
        "actual": route_document(seen.actual),
        "served": {name: _served_document(served) for name, served in seen.served.items()},
        "error": None if seen.error is None else str(seen.error),
    }


def _served_document(served: Served) -> documents.Document:
    return {"requests": served.requests, "writes": served.writes, "errors": served.errors}


def checked_document(checked: Checked) -> documents.Document:
    """One check as JSON."""
    return {
        "router": checked.router,
        "tenant": checked.tenant,
        "intended": route_document(checked.intended),
        "written": route_document(checked.written),
        "actual": route_document(checked.actual),
        "counted": [
            {
                "environment": one.environment, "expected_percent": one.expected, "reads": one.reads,
                "writes": one.writes, "errors": one.errors, "share": one.share, "low": one.low, "high": one.high,
            }
            for one in checked.counted
        ],
        "findings": documents.findings_document(checked.findings),
    }  # fmt: skip


def seen_lines(seen: Seen) -> Iterator[Line]:
    """One tenant in one router for people."""
    yield styled(f"{seen.router} ({seen.kind})", "bold")
    yield f"  asked for     {route_text(seen.intended)}"
    if seen.error is not None:
        yield f"  in effect     unknown: {seen.error}"
        return
    yield f"  in effect     {route_text(seen.actual)}"
    if seen.written != seen.actual:
        yield f"  after restart {route_text(seen.written)}"
    for name, served in seen.served.items():
        yield f"  served        {name}: {served.requests} requests, {served.writes} of them writes, {served.errors} errors"


def checked_lines(checked: Checked) -> Iterator[Line]:
    """One check for people."""
    yield styled(f"{checked.router}  {checked.tenant if checked.tenant is not None else '-'}", "bold")
    if checked.counted:
        rows = [_counted_row(one) for one in checked.counted]
        header = ("ENVIRONMENT", "READS", "SERVED", "EXPECTED", "WITHIN", "WRITES", "ERRORS")
        yield from table(header, rows, right=(1, 2, 3, 4, 5, 6))
    yield from finding_lines(checked.findings)


def _counted_row(one: Counted) -> tuple[str, ...]:
    within = (
        f"{100 * one.low:.1f}-{100 * one.high:.1f} %" if one.low is not None and one.high is not None else "-"
    )
    share = "-" if one.share is None else f"{100 * one.share:.1f} %"
    return (
        one.environment,
        str(one.reads),
        share,
        f"{one.expected} %",
        within,
        str(one.writes),
        str(one.errors),
    )
