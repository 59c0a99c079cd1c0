"""``tenantctl backup create`` and ``drill``: a tenant into the repository, and the proof that it comes out again."""

from __future__ import annotations

from typing import Annotated

import typer

from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.goals import Ended
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat
from tenant_lifecycle.model.names import TenantId

def create(
    ctx: typer.Context,
    tenant: options.Tenant,
    environment: Annotated[
        str | None,
        typer.Option(
            "--in", metavar="ENVIRONMENT", help="Where it is; by default the one that is its writer."
        ),
    ] = None,
    mark: Annotated[
        str, typer.Option("--mark", metavar="NAME", help="Restore to it by this name: --to mark:NAME.")
    ] = "",
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Read everything a tenant has into the repository, decrypt it again and compare."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        operation = service.backups.start_backup(
            TenantId(tenant), environment, mark=mark, actor=actor(), reason=reason
        )
        service.ensure_runner()
        said = f"{operation.id}  backs up {tenant}"
        out = invocation.output(as_json(json, output))
        finish(service, operation.id, said, Ended(), Waiting(wait, timeout), out)
