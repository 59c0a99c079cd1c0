"""``tenantctl restore``: one tenant as it was, beside the live one first, then in its place."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from tenant_lifecycle.cli import op, options
from tenant_lifecycle.cli.confirming import confirm_tenant
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Ended, Previewed
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, Output, OutputFormat
from tenant_lifecycle.cli.restore_text import diff_document, diff_lines, plan_document, plan_lines
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.restore.planning import RestorePlan
from tenant_lifecycle.stores.backing import SetDiff
from tenant_lifecycle.wiring.backups import Wanted

restore_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Bring one tenant back as it was, to the second."
)

_To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="WHEN",
        help="A time with its offset (2026-11-24T10:15:30+01:00), a base's id, mark:NAME, or latest.",
    ),
]
_In = Annotated[
    str | None,
    typer.Option("--in", metavar="ENVIRONMENT", help="Where it is; by default the one that is its writer."),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="STORE/SET", help="Only this set; may be repeated."),
]


@restore_app.command()
def plan(
    ctx: typer.Context,
    tenant: options.Tenant,
    to: _To,
    environment: _In = None,
    only: _Only = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what would be restored and everything that would refuse it. Changes nothing.

    Exit code 6 if the real run would be refused.
    """
    invocation = of(ctx)
    wanted = Wanted(TenantId(tenant), to, environment, tuple(only or ()))
    with invocation.lifecycle() as service:
        made = service.backups.plan_restore(wanted)
    _show_plan(made, to, invocation.output(as_json(json, output)))


@restore_app.command()
def start(
    ctx: typer.Context,
    tenant: options.Tenant,
    to: _To,
    environment: _In = None,
    only: _Only = None,
    preview_only: Annotated[
        bool, typer.Option("--preview-only", help="To look at; it cannot be promoted.")
    ] = False,
    if_plan: Annotated[
        str | None,
        typer.Option("--if-plan", metavar="HASH", help="Start only if the plan is still this one."),
    ] = None,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Load the tenant as it was beside the live one, prove it, and compare. Nothing live is touched.

    With --wait until it waits for a word: promote or discard.
    """
    invocation = of(ctx)
    wanted = Wanted(TenantId(tenant), to, environment, tuple(only or ()))
    with invocation.lifecycle() as service:
        operation = service.backups.start_restore(
            wanted, if_plan=if_plan, preview_only=preview_only, actor=actor(), reason=reason
        )
        service.ensure_runner()
        said = f"{operation.id}  loads {tenant} beside the live one"
        out = invocation.output(as_json(json, output))
        finish(service, operation.id, said, Previewed(), Waiting(wait, timeout), out)


@restore_app.command()
def watch(
    ctx: typer.Context,
    operation: options.OperationId,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Look on while a restore goes. Ctrl-C ends the looking, never the restore."""
    op.look_on(ctx, operation, "restore", timeout, as_json(json, output))


@restore_app.command()
def diff(
    ctx: typer.Context,
    operation: options.OperationId,
    examples: Annotated[
        int, typer.Option("--examples", min=0, max=100, help="Keys that differ to show, for each set.")
    ] = 3,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Compare the preview with what is live now, set by set; exact. Exit code 9 if anything differs."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation, kind="restore")
        diffs = service.backups.diff(found.id, examples)
    document = {"operation": found.id, "stores": diff_document(diffs)}
    invocation.output(as_json(json, output)).data(document, diff_lines(diffs))
    if _differ(diffs):
        raise typer.Exit(int(ExitCode.DIFFERENCES))


@restore_app.command()
def promote(
    ctx: typer.Context,
    operation: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Put the preview in place of what is live, after a backup of that. By another person than who asked.

    Writes of the tenant are held meanwhile, of nobody else. Asks for the tenant's id.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        found = service.operation(operation, kind="restore")
        what = "back up what is live, hold the tenant's writes, and replace it by the preview"
        if dry_run:
            out.data({"dry_run": True, "would": what, "operation": found.id}, [f"would {what}"])
            return
        confirm_tenant(found.tenant_id, f"Promoting {found.id} will {what}", confirm, out)
        service.backups.promote(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        said = f"{found.id}  told to promote"
        finish(service, found.id, said, Ended(), Waiting(wait, timeout), out)


@restore_app.command()
def discard(
    ctx: typer.Context,
    operation: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take a preview away. Nothing live is touched."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation, kind="restore")
        service.backups.discard(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        out = invocation.output(as_json(json, output))
        finish(service, found.id, f"{found.id}  told to discard", Ended(), Waiting(wait, timeout), out)


def _show_plan(made: RestorePlan, to: str, out: Output) -> None:
    arguments = shlex.join((made.tenant, "--to", to, "--in", made.environment, "--if-plan", made.hash))
    steps = [NextStep(f"tenantctl restore start {arguments}", "loads exactly this, beside what is live")]
    out.data(plan_document(made), plan_lines(made), [] if made.refusals else steps)
    if made.refusals:
        raise typer.Exit(int(ExitCode.REFUSED))


def _differ(diffs: Mapping[str, list[SetDiff]]) -> bool:
    return any(one.only_restored or one.only_live or one.changed for sets in diffs.values() for one in sets)
