"""``tenantctl op``: every operation, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.confirming import confirm_tenant
from tenant_lifecycle.cli.ending import Waiting, finish, leave, next_steps
from tenant_lifecycle.cli.goals import Ended, Paused
from tenant_lifecycle.cli.history import event_line
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import Output, OutputFormat, table
from tenant_lifecycle.cli.tree import tree
from tenant_lifecycle.cli.watch import glyphs, snapshot
from tenant_lifecycle.cli.watch import watch as watch_operation
from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation, State, StepRecord

op_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at and steer operations of every kind."
)


@op_app.command("list")
def list_operations(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind, for example migrate.")] = None,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Only in this state; may be repeated.")
    ] = None,
    needs_attention: Annotated[
        bool, typer.Option("--needs-attention", help="Only those a person has to look at.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List operations, newest first."""
    invocation = of(ctx)
    states = (State.ATTENTION,) if needs_attention else tuple(state or ())
    with invocation.lifecycle() as service:
        found = service.operations(
            tenant=TenantId(tenant) if tenant else None, kind=kind, states=states, limit=limit
        )
    show_list(found, invocation.output(as_json(json, output)))


def show_list(found: Sequence[Operation], out: Output) -> None:
    """Operations as a table, or as JSON."""
    rows = [
        (o.id, o.kind, o.tenant_id, o.state.value, documents.moment(o.created_at) or "", o.requested_by)
        for o in found
    ]
    lines = (
        table(("OPERATION", "KIND", "TENANT", "STATE", "CREATED", "BY"), rows) if rows else ["no operations"]
    )
    out.data({"operations": [documents.operation_document(o) for o in found]}, lines)


@op_app.command()
def get(
    ctx: typer.Context,
    operation: options.OperationId,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show an operation as a tree, once."""
    show(ctx, operation, None, as_json(json, output))


def show(ctx: typer.Context, text: str, kind: str | None, json: bool) -> None:
    """The operation as it is now."""
    invocation = of(ctx)
    out = invocation.output(json)
    with invocation.lifecycle() as service:
        found = service.operation(text, kind=kind)
        document = snapshot(service, found.id)
        out.data(document, tree(document, max(80, out.talk.width), glyphs(out.encoding)), next_steps(found))


@op_app.command()
def why(
    ctx: typer.Context,
    operation: options.OperationId,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Say in one sentence why an operation is where it is."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation)
        document = snapshot(service, found.id, events=0)
    said = {"operation": found.id, "state": found.state.value, "why": document["why"]}
    invocation.output(as_json(json, output)).data(said, [document["why"]])


@op_app.command()
def watch(
    ctx: typer.Context,
    operation: options.OperationId,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Look on while an operation goes: a tree on a terminal, else one line (with --json: one object) per change.

    Ctrl-C ends the looking, never the operation.
    """
    look_on(ctx, operation, None, timeout, as_json(json, output))


def look_on(ctx: typer.Context, text: str, kind: str | None, timeout_s: float | None, json: bool) -> None:
    """Watch until the operation ends or stands; exit with the outcome."""
    invocation = of(ctx)
    out = invocation.output(json)
    with invocation.lifecycle() as service:
        found = service.operation(text, kind=kind)
        watched = watch_operation(service, found.id, Ended(), out, timeout_s=timeout_s, talk=False)
        if json:
            raise typer.Exit(int(watched.code))
        leave(service, found.id, watched.code, watched.document, "", out)


@op_app.command()
def wait(
    ctx: typer.Context,
    operation: options.OperationId,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Wait until an operation ends or a person is needed; the exit code is the outcome."""
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        found = service.operation(operation)
        finish(service, found.id, "", Ended(), Waiting(True, timeout), out)


@op_app.command()
def steps(
    ctx: typer.Context,
    operation: options.OperationId,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List an operation's steps, those ahead too."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation)
        document = snapshot(service, found.id, events=0)
    rows = [
        (s["key"], s["status"], str(s["attempt"]), s["first_at"], s["done_at"] or "", s["title"])
        for s in document["steps"]
    ]
    rows += [(s["key"], "ahead", "", "", "", s["title"]) for s in document["ahead"]]
    lines = table(("STEP", "STATUS", "ATTEMPT", "BEGUN", "DONE", "WHAT"), rows, right=(2,))
    invocation.output(as_json(json, output)).data(
        {"operation": found.id, "steps": document["steps"], "ahead": document["ahead"]}, lines
    )


@op_app.command()
def events(
    ctx: typer.Context,
    operation: options.OperationId,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events with a larger number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 1000,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show an operation's history."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation)
        history = [
            documents.event_document(event) for event in service.events(found.id, after=after, limit=limit)
        ]
    invocation.output(as_json(json, output)).data(
        {"operation": found.id, "events": history}, [event_line(event) for event in history]
    )


@op_app.command()
def pause(
    ctx: typer.Context,
    operation: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Stop at the next safe point and keep everything."""
    pause_operation(ctx, operation, None, reason, Waiting(wait, timeout), as_json(json, output))


def pause_operation(
    ctx: typer.Context, text: str, kind: str | None, reason: str, waiting: Waiting, json: bool
) -> None:
    """Ask for a pause."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(text, kind=kind)
        service.pause(found.id, actor=actor(), reason=reason)
        said = f"{found.id}  stops at the next safe point"
        finish(service, found.id, said, Paused(), waiting, invocation.output(json))


@op_app.command()
def resume(
    ctx: typer.Context,
    operation: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Go on after a pause."""
    resume_operation(ctx, operation, None, reason, Waiting(wait, timeout), as_json(json, output))


def resume_operation(
    ctx: typer.Context, text: str, kind: str | None, reason: str, waiting: Waiting, json: bool
) -> None:
    """Let a paused operation go on."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(text, kind=kind)
        service.resume(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        finish(service, found.id, f"{found.id}  goes on", Ended(), waiting, invocation.output(json))


@op_app.command()
def retry(
    ctx: typer.Context,
    operation: options.OperationId,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Go on after the cause was mended, or at once instead of at the next try."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.operation(operation)
        service.retry(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        out = invocation.output(as_json(json, output))
        finish(service, found.id, f"{found.id}  tries again", Ended(), Waiting(wait, timeout), out)


@op_app.command()
def abort(
    ctx: typer.Context,
    operation: options.OperationId,
    dry_run: options.DryRun = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take back what an operation did, as far as that is possible. Asks for the tenant's id once data was copied."""
    abort_operation(
        ctx, operation, None, reason, Waiting(wait, timeout), confirm, dry_run, as_json(json, output)
    )


def abort_operation(
    ctx: typer.Context,
    text: str,
    kind: str | None,
    reason: str,
    waiting: Waiting,
    confirm: str | None,
    dry_run: bool,
    json: bool,
) -> None:
    """Ask for an abort, after a confirmation where it deletes something."""
    invocation = of(ctx)
    out = invocation.output(json)
    with invocation.lifecycle() as service:
        found = service.operation(text, kind=kind)
        steps = service.steps(found.id)
        if found.terminal:
            raise WrongState(f"{found.id} is over ({found.state.value}); there is nothing to abort")
        effects = abort_effects(found, steps)
        if dry_run:
            document = {"dry_run": True, "would": effects, "operation": documents.operation_document(found)}
            out.data(document, [f"would {effect}" for effect in effects])
            return
        if has_copied(steps):
            confirm_tenant(found.tenant_id, f"Aborting {found.id} will {'; '.join(effects)}", confirm, out)
        service.abort(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        goal = Ended(frozenset({State.ABORTED, State.ROLLED_BACK}))
        finish(service, found.id, f"{found.id}  takes back what it did", goal, waiting, out)


def has_copied(steps: Sequence[StepRecord]) -> bool:
    """Whether the operation may have put data of the tenant into another environment."""
    return any(step.key == "copy" for step in steps)


def abort_effects(operation: Operation, steps: Sequence[StepRecord]) -> list[str]:
    """What an abort would do, in order, as endings of "would ...", from the steps that began."""
    begun = {step.key for step in steps}
    spec = operation.spec
    effects = []
    if any(key.startswith("flip/") for key in begun):
        effects.append(f"flip writes back to {spec.get('source', 'the source')}, if they go elsewhere by now")
    if "feed" in begun:
        effects.append("remove the feeds")
    if "copy" in begun:
        effects.append(f"delete the tenant's rows in {spec.get('target', 'the target')}")
    if "arm" in begun and not any(key.startswith("flip/") for key in begun):
        effects.append("take the fence away on both sides")
    return effects or ["end the operation; nothing was done yet that has to be taken back"]
