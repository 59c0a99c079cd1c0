"""``tenantctl verify``: is a tenant the same in two environments?"""

from __future__ import annotations

from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat
from tenant_lifecycle.cli.plan_text import report_lines
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.names import TenantId


def verify(
    ctx: typer.Context,
    tenant: options.Tenant,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="ENVIRONMENT", help="By default that of its newest migration."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="ENVIRONMENT", help="By default that of its newest migration."),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Compare every item of a tenant in two environments and name each difference.

    Reads only; writes may go on. Exit code 9 if they differ.
    """
    show_verification(ctx, tenant, source, target, as_json(json, output))


def show_verification(
    ctx: typer.Context, tenant: str, source: str | None, target: str | None, json: bool
) -> None:
    """Verify, print the report, exit with 9 on differences."""
    if source is not None and source == target:
        raise UsageError(f"source and target must differ, both are {source!r}")
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        report = service.verify(TenantId(tenant), source, target)
    invocation.output(json).data(
        {"tenant": tenant, **documents.report_document(report)}, report_lines(report)
    )
    if not report.consistent:
        raise typer.Exit(int(ExitCode.DIFFERENCES))
