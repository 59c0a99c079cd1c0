"""``tenantctl migrate``: move one tenant to another environment, and back."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, op, options
from tenant_lifecycle.cli.confirming import agree, confirm_tenant
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import (
    Ended,
    Flipped,
    Promoted,
    SentBack,
    flips_done,
    is_shifting,
    times_sent_back,
    waits_for_promote,
)
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, Output, OutputFormat
from tenant_lifecycle.cli.plan_text import plan_lines
from tenant_lifecycle.cli.service import Lifecycle
from tenant_lifecycle.cli.verify import show_verification
from tenant_lifecycle.cli.why import current_step
from tenant_lifecycle.errors import UsageError, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation, State
from tenant_lifecycle.model.plan import Cutover, MigrationPlan
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.operations.migrate.postmortem import reports_of

migrate_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Move one tenant to another environment, and back."
)

_To = Annotated[
    str, typer.Option("--to", metavar="ENVIRONMENT", help="The environment to move the tenant to.")
]
_From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="ENVIRONMENT", help="Where it is now; by default the one that is its writer."
    ),
]
_Cutover = Annotated[Cutover | None, typer.Option("--cutover", help="Who decides the moment of the flip.")]
_Settle = Annotated[
    float | None,
    typer.Option(
        "--settle", metavar="DURATION", parser=options.duration, help="How long the old side is kept ready."
    ),
]
_Workers = Annotated[int | None, typer.Option("--workers", min=1, max=16, help="Parallel copy workers.")]

_Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="PERCENTS",
        help="Shares of the requests before the flip, such as 10,25,50; none: all at once.",
    ),
]
_Strategy = Annotated[
    Strategy | None, typer.Option("--strategy", help="How to move it, instead of the tier's strategy.")
]

_WindowStart = Annotated[
    str | None,
    typer.Option(
        "--window-start",
        metavar="WHEN",
        help="With maintenance_window: now, 02:30 (UTC, the next time), or 2026-11-24T02:30:00+01:00.",
    ),
]
_WindowFor = Annotated[
    float | None,
    typer.Option(
        "--window-for",
        metavar="DURATION",
        parser=options.duration,
        help="With maintenance_window: how long writes may be held at most.",
    ),
]


@migrate_app.command()
def plan(
    ctx: typer.Context,
    tenant: options.Tenant,
    to: _To,
    source: _From = None,
    cutover: _Cutover = None,
    settle: _Settle = None,
    workers: _Workers = None,
    steps: _Steps = None,
    strategy: _Strategy = None,
    window_start: _WindowStart = None,
    window_for: _WindowFor = None,
    exact: Annotated[bool, typer.Option("--exact", help="Count instead of estimating.")] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what a migration would do, how much it is, and everything that would refuse it.

    Changes nothing. Exit code 6 if the real run would be refused.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        made = service.plan_migration(
            _tenant(tenant),
            source,
            _different(source, to),
            _options(cutover, settle, workers, steps, strategy, window_start, window_for),
            exact=exact,
        )
    _show_plan(made, out)


@migrate_app.command()
def start(
    ctx: typer.Context,
    tenant: options.Tenant,
    to: _To,
    source: _From = None,
    cutover: _Cutover = None,
    settle: _Settle = None,
    workers: _Workers = None,
    steps: _Steps = None,
    strategy: _Strategy = None,
    window_start: _WindowStart = None,
    window_for: _WindowFor = None,
    if_plan: Annotated[
        str | None,
        typer.Option("--if-plan", metavar="HASH", help="Start only if the plan is still this one."),
    ] = None,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    yes: options.Yes = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Start moving a tenant.

    With --wait: until the target is the tenant's writer. The old side is then kept ready for a rollback until
    the settle time is over or `migrate complete` is said.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    chosen = _options(cutover, settle, workers, steps, strategy, window_start, window_for)
    target = _different(source, to)
    with invocation.lifecycle() as service:
        if dry_run:
            _show_plan(service.plan_migration(_tenant(tenant), source, target, chosen), out)
            return
        agree(f"Move {tenant} to {target}?", yes or if_plan is not None, out)
        operation_id = service.start_migration(
            _tenant(tenant), source, target, chosen, if_plan=if_plan, reason=reason, actor=actor()
        )
        service.ensure_runner()
        said = f"{operation_id}  started: migrate {tenant} to {target}"
        finish(service, operation_id, said, Flipped(1), Waiting(wait, timeout), out)


@migrate_app.command()
def watch(
    ctx: typer.Context,
    tenant: options.OperationId,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Look on while a migration goes. Ctrl-C ends the looking, not the migration."""
    op.look_on(ctx, tenant, "migrate", timeout, as_json(json, output))


@migrate_app.command()
def status(
    ctx: typer.Context,
    tenant: options.OperationId,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show where a migration is, once."""
    op.show(ctx, tenant, "migrate", as_json(json, output))


@migrate_app.command("list")
def list_migrations(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List migrations, newest first."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operations(kind="migrate", limit=limit)
    op.show_list(found, invocation.output(as_json(json, output)))


@migrate_app.command()
def pause(
    ctx: typer.Context,
    tenant: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Stop at the next safe point and keep everything. Writes go on where they are."""
    op.pause_operation(ctx, tenant, "migrate", reason, Waiting(wait, timeout), as_json(json, output))


@migrate_app.command()
def resume(
    ctx: typer.Context,
    tenant: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Go on after a pause."""
    op.resume_operation(ctx, tenant, "migrate", reason, Waiting(wait, timeout), as_json(json, output))


@migrate_app.command()
def verify(
    ctx: typer.Context,
    tenant: options.Tenant,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Compare both sides of the tenant's newest migration, now. Exit code 9 if they differ."""
    show_verification(ctx, tenant, None, None, as_json(json, output))


@migrate_app.command()
def promote(
    ctx: typer.Context,
    tenant: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Go on: flip a verified copy that waits for it, skip the time of a step, or try again after a rollback.

    At a step of the gradual cutover it skips the time the step still has, never a gate that fails.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        operation = service.operation(tenant, kind="migrate")
        begun = service.steps(operation.id)
        flips = flips_done(begun)
        if flips % 2:
            raise WrongState(f"{operation.id}: {operation.spec['target']} is the writer already")
        waits = is_shifting(begun) or waits_for_promote(begun)
        if operation.spec.get("cutover") != Cutover.MANUAL and flips == 0 and not waits:
            raise WrongState(
                f"{operation.id} flips by itself as soon as everything is verified",
                next_step=f"tenantctl op why {operation.id}",
            )
        what = f"make {operation.spec['target']} the writer"
        _tell(service, operation, "promote", what, reason, dry_run, out)
        if not dry_run:
            told = current_step(begun)
            goal = Promoted(flips + 1, told.key if told is not None and waits_for_promote(begun) else "")
            finish(
                service, operation.id, f"{operation.id}  told to promote", goal, Waiting(wait, timeout), out
            )


@migrate_app.command()
def rollback(
    ctx: typer.Context,
    tenant: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    yes: options.Yes = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Make the source the writer again, with every write the target acknowledged. Any number of times.

    At a step of the gradual cutover: send every request back to the source.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        operation = service.operation(tenant, kind="migrate")
        begun = service.steps(operation.id)
        flips, shifting = flips_done(begun), is_shifting(begun)
        if flips % 2 == 0 and not shifting:
            raise WrongState(
                f"{operation.id}: {operation.spec['source']} is the writer, there is nothing to roll back",
                next_step=f"to take the migration back altogether: tenantctl migrate abort {operation.tenant_id}",
            )
        what = (
            f"send every request back to {operation.spec['source']}"
            if shifting
            else f"make {operation.spec['source']} the writer again"
        ) + f" and keep {operation.spec['target']} up to date"
        if not dry_run:
            agree(f"{operation.tenant_id}: {what}?", yes, out)
        _tell(service, operation, "rollback", what, reason, dry_run, out)
        if not dry_run:
            goal = SentBack(times_sent_back(begun) + 1) if shifting else Flipped(flips + 1)
            finish(
                service, operation.id, f"{operation.id}  told to roll back", goal, Waiting(wait, timeout), out
            )


@migrate_app.command()
def abort(
    ctx: typer.Context,
    tenant: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take a migration back: writes return to the source, feeds and the copy on the target are removed.

    Asks for the tenant's id once rows were copied.
    """
    op.abort_operation(
        ctx, tenant, "migrate", reason, Waiting(wait, timeout), confirm, dry_run, as_json(json, output)
    )


@migrate_app.command()
def complete(
    ctx: typer.Context,
    tenant: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """End the settle time now: verify once more, then delete the tenant's rows on the old side.

    There is no rollback after that. Asks for the tenant's id.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        operation = service.operation(tenant, kind="migrate")
        if flips_done(service.steps(operation.id)) % 2 == 0:
            raise WrongState(
                f"{operation.id}: {operation.spec['target']} is not the writer, so nothing can be completed",
                next_step=f"tenantctl op why {operation.id}",
            )
        what = f"verify once more, then delete the tenant's rows in {operation.spec['source']}; no rollback after that"
        if not dry_run:
            confirm_tenant(operation.tenant_id, f"Completing {operation.tenant_id} will {what}", confirm, out)
        _tell(service, operation, "complete", what, reason, dry_run, out)
        if not dry_run:
            goal = Ended(frozenset({State.SUCCEEDED}))
            finish(
                service, operation.id, f"{operation.id}  told to complete", goal, Waiting(wait, timeout), out
            )


@migrate_app.command()
def postmortem(
    ctx: typer.Context,
    tenant: options.OperationId,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show the post-mortems of a migration: what was seen each time that requests went back, and what to do."""
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        operation = service.operation(tenant, kind="migrate")
        outputs = [step.output for step in service.steps(operation.id)]
    reports = reports_of(outputs)
    files = [found["files"] for found in outputs if found and "postmortem" in found]
    lines = [line for report in reports for line in report.markdown().splitlines()]
    out.data(
        {"operation": operation.id, "postmortems": [report.as_json() for report in reports], "files": files},
        lines or [f"{operation.id}: no request ever had to go back"],
    )


def _tell(
    service: Lifecycle, operation: Operation, kind: str, what: str, reason: str, dry_run: bool, out: Output
) -> None:
    """Send the signal, or with ``dry_run`` only say what it would do."""
    if operation.terminal:
        raise WrongState(
            f"{operation.id} is over ({operation.state.value})", next_step="start a new migration"
        )
    if dry_run:
        document = {"dry_run": True, "would": what, "operation": documents.operation_document(operation)}
        out.data(document, [f"would {what}"])
        return
    service.signal(operation.id, kind, actor=actor(), reason=reason)
    service.ensure_runner()


def _show_plan(made: MigrationPlan, out: Output) -> None:
    arguments = shlex.join((made.tenant, "--from", made.source, "--to", made.target, "--if-plan", made.hash))
    steps = [NextStep(f"tenantctl migrate start {arguments}", "runs exactly this plan")]
    out.data(documents.plan_document(made), plan_lines(made), [] if made.refusals else steps)
    if made.refusals:
        raise typer.Exit(int(ExitCode.REFUSED))


def _tenant(text: str) -> TenantId:
    if not text:
        raise UsageError("a tenant's id must not be empty")
    return TenantId(text)


def _options(
    cutover: Cutover | None,
    settle: float | None,
    workers: int | None,
    steps: str | None,
    strategy: Strategy | None,
    window_start: str | None,
    window_for: float | None,
) -> MigrationOptions:
    """What was chosen for one migration."""
    if window_for is not None and window_for <= 0:
        raise UsageError("--window-for must be longer than nothing")
    return MigrationOptions(
        cutover, settle, workers, options.steps(steps), strategy, window_start, window_for
    )


def _different(source: str | None, target: str) -> str:
    if source == target:
        raise UsageError(f"source and target must differ, both are {target!r}")
    return target
