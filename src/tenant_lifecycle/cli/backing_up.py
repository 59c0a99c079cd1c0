"""``tenantctl backup create`` and ``drill``: a tenant into the repository, and the proof that it comes out again."""

from __future__ import annotations

from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.goals import Ended
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat, table
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


def protect(
    ctx: typer.Context,
    tenant: options.Tenant,
    environment: Annotated[
        str | None,
        typer.Option(
            "--in", metavar="ENVIRONMENT", help="Where it is; by default the one that is its writer."
        ),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Have applications enter which keys of a tenant they touch, so that the archiver can keep Redis, vectors, objects.

    Installs the fence of moves, open. Safe to repeat. Without it only bases of those stores can be restored.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        row = service.backups.protect(TenantId(tenant), environment)
    said = f"{tenant} is managed in {row.environment}, epoch {row.epoch}"
    document = {
        "tenant": tenant,
        "environment": row.environment,
        "epoch": row.epoch,
        "state": row.state.value,
    }
    invocation.output(as_json(json, output)).data(document, [said])


def drill(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Of whom; by default one at random.")
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option("--in", metavar="ENVIRONMENT", help="Beside what is live there; default: the writer."),
    ] = None,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Restore a tenant as of a random moment beside what is live, prove it, ask it, measure, and throw it away.

    Exit code 9 if it could not have been restored.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        tenants = [TenantId(tenant)] if tenant else [TenantId(one.id) for one in service.tenants()]
        operation = service.drilling.start(tenants, environment=environment, actor=actor(), reason=reason)
        service.ensure_runner()
        said = f"{operation.id}  drills {operation.tenant_id}"
        out = invocation.output(as_json(json, output))
        finish(service, operation.id, said, Ended(), Waiting(wait, timeout), out)


def drills(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List what came of restore drills, newest first."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        reports = service.drilling.reports(tenant=tenant, limit=limit)
    rows = [
        (
            documents.moment(one["ended_at"]) or "", one["tenant_id"], one["at"],
            "passed" if one["passed"] else "FAILED", f"{one['rto_s']:.1f} s", str(sum(one["items"].values())),
            "; ".join(one["findings"]),
        )
        for one in reports
    ]  # fmt: skip
    headers = ("ENDED", "TENANT", "AS OF", "RESULT", "TOOK", "ITEMS", "WHY")
    lines = table(headers, rows, right=(4, 5)) if rows else ["no drills"]
    invocation.output(as_json(json, output)).data({"drills": list(reports)}, lines)
