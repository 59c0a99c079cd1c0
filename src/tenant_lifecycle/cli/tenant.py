"""``tenantctl tenant``: who there is, and where."""

from __future__ import annotations

from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, OutputFormat, table
from tenant_lifecycle.model.names import TenantId

tenant_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who there is, and where.")


@tenant_app.command("list")
def list_tenants(
    ctx: typer.Context,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Only those whose writer this environment is.")
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List the tenants."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.tenants(environment=environment)
    rows = [(t.id, t.display_name, t.tier, t.environment, t.state) for t in found]
    lines = table(("TENANT", "NAME", "TIER", "ENVIRONMENT", "STATE"), rows) if rows else ["no tenants"]
    invocation.output(as_json(json, output)).data(
        {"tenants": [documents.tenant_document(tenant, None) for tenant in found]}, lines
    )


@tenant_app.command()
def get(
    ctx: typer.Context,
    tenant: options.Tenant,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show one tenant: its tier, its writer, and what is being done with it."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.tenant(TenantId(tenant))
        active = service.find_active(TenantId(tenant))
    lines = [
        f"tenant       {found.id}",
        f"name         {found.display_name}",
        f"tier         {found.tier or '-'}",
        f"environment  {found.environment or 'unknown'}",
        f"state        {found.state}",
        f"operation    {f'{active.id}  {active.kind} ({active.state.value})' if active else 'none'}",
    ]
    steps = [NextStep(f"tenantctl op watch {active.id}")] if active else []
    invocation.output(as_json(json, output)).data(documents.tenant_document(found, active), lines, steps)
