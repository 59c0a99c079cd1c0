"""``tenantctl erase``: have a tenant erased everywhere, with the approval of others, and see what is proven."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tenant_lifecycle.cli import op, options
from tenant_lifecycle.cli.confirming import confirm_tenant
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.erase_cert import cert_app
from tenant_lifecycle.cli.erase_text import (
    event_document,
    event_lines,
    plan_document,
    plan_lines,
    request_document,
    request_lines,
    request_next_steps,
    requests_table,
    residual_lines,
)
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import LiveErased
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import Output, OutputFormat
from tenant_lifecycle.cli.service import Lifecycle
from tenant_lifecycle.errors import UsageError, WrongState
from tenant_lifecycle.model.erasure.request import Ground, Request
from tenant_lifecycle.model.names import TenantId

erase_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Erase a tenant everywhere, and prove what is proven."
)

_IfPlan = Annotated[
    str | None,
    typer.Option("--if-plan", metavar="DIGEST", help="Only if the plan is still this one."),
]

erase_app.add_typer(cert_app, name="cert")


@erase_app.command()
def request(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option("--tenant", metavar="TENANT", help="The tenant's id.")],
    ground: Annotated[Ground, typer.Option("--ground", help="Why it is erased.")],
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", help="Another name of the tenant: searched for, and matched by holds."),
    ] = None,
    environment: Annotated[
        list[str] | None, typer.Option("--environment", help="Only this environment; may be repeated.")
    ] = None,
    out_of_scope: Annotated[
        list[str] | None,
        typer.Option("--out-of-scope", metavar="SYSTEM=REASON", help="A system that is left out, and why."),
    ] = None,
    received: Annotated[
        str | None,
        typer.Option("--received", metavar="DATE", help="When it reached you: 2026-01-31; by default now."),
    ] = None,
    ticket: Annotated[str, typer.Option("--ticket", help="Your own reference.")] = "",
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Note a request to erase a tenant; the clock of Art. 12(3) begins. Nothing is deleted."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        made = service.erasures.request(
            TenantId(tenant),
            ground,
            actor=actor(),
            aliases=alias or (),
            scope=environment or (),
            ticket=ticket,
            received_at=_date(received),
            out_of_scope=_reasons(out_of_scope or []),
        )
        _show(service, made, invocation.output(as_json(json, output)))


@erase_app.command()
def plan(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Count everything that would go, and keep it as the plan that others approve. Deletes nothing.

    Exit code 6 if something forbids it.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        made = service.erasures.plan(request, actor=actor())
        found = service.erasures.find(request)
    document, lines = plan_document(made, found), plan_lines(made, found)
    invocation.output(as_json(json, output)).data(document, lines, request_next_steps(found))
    if made.refusals:
        raise typer.Exit(int(ExitCode.REFUSED))


@erase_app.command("list")
def list_requests(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List requests, newest first, with the time that is left."""
    invocation, now = of(ctx), time.time()
    with invocation.lifecycle() as service:
        found = service.erasures.list(tenant=tenant, open_only=open_only, limit=limit)
        documents = [request_document(one, service.erasures.approved_by(one), now) for one in found]
    invocation.output(as_json(json, output)).data({"requests": documents}, requests_table(found, now))


@erase_app.command()
def get(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show a request: its clock, plan, approvals and history."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.find(request)
        _show(service, found, invocation.output(as_json(json, output)), history=True)


@erase_app.command()
def approve(
    ctx: typer.Context,
    request: options.ErasureRequest,
    if_plan: Annotated[
        str, typer.Option("--if-plan", metavar="DIGEST", help="Digest of the plan that you have read.")
    ],
    reason: options.Reason = "",
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Approve exactly this plan. Whoever asked for the erasure cannot, and nobody can twice."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.approve(request, plan=if_plan, actor=actor(), reason=reason)
        _show(service, found, invocation.output(as_json(json, output)))


@erase_app.command()
def deny(
    ctx: typer.Context,
    request: options.ErasureRequest,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What the asker will be told.")],
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Refuse a request, with a reason."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.deny(request, actor=actor(), reason=reason)
        _show(service, found, invocation.output(as_json(json, output)))


@erase_app.command()
def start(
    ctx: typer.Context,
    request: options.ErasureRequest,
    if_plan: _IfPlan = None,
    reason: options.Reason = "",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Erase as approved, once the cooling-off is over. Asks for the tenant's id.

    With --wait: until the live systems are verified, or a person is needed. Rescans follow.
    """
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        found = service.erasures.find(request)
        confirm_tenant(found.tenant, f"Erasing {found.tenant} cannot be taken back", confirm, out)
        begun = service.erasures.start(request, actor=actor(), if_plan=if_plan, reason=reason)
        service.ensure_runner()
        said = f"{begun.id}  started: erase {found.tenant}"
        finish(service, begun.id, said, LiveErased(), Waiting(wait, timeout), out)


@erase_app.command()
def watch(
    ctx: typer.Context,
    request: options.ErasureRequest,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Look on while an erasure goes. Ctrl-C ends the looking, not the erasure."""
    with of(ctx).lifecycle() as service:
        found = service.erasures.find(request)
        running = service.erasures.running(found)
    operation = running.id if running is not None else found.operation_id
    if operation is None:
        raise WrongState(
            f"request {found.id} is {found.state}: nothing runs yet",
            next_step=f"tenantctl erase get {found.id}",
        )
    op.look_on(ctx, operation, "erase", timeout, as_json(json, output))


@erase_app.command()
def cancel(
    ctx: typer.Context,
    request: options.ErasureRequest,
    reason: options.Reason = "",
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """End a request before the point of no return; what was closed is opened again."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.cancel(request, actor=actor(), reason=reason)
        service.ensure_runner()
        _show(service, found, invocation.output(as_json(json, output)))


@erase_app.command()
def extend(
    ctx: typer.Context,
    request: options.ErasureRequest,
    notice: Annotated[
        str, typer.Option("--notice", metavar="TEXT", help="The record that the asker was told.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why more time is needed.")],
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take two more months; only within the first one, with a reason and a notice to the asker."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.extend(request, reason=reason, notice=notice, actor=actor())
        _show(service, found, invocation.output(as_json(json, output)))


@erase_app.command()
def residuals(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what the newest search of each system found, and a line for ownership.yaml that would cover it.

    Exit code 9 if there is something. What is shown may be personal.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.residuals(request)
    document = {"residuals": {system: [dict(hit) for hit in hits] for system, hits in found.items()}}
    invocation.output(as_json(json, output)).data(document, residual_lines(found))
    if any(found.values()):
        raise typer.Exit(int(ExitCode.DIFFERENCES))


@erase_app.command()
def again(
    ctx: typer.Context,
    request: options.ErasureRequest,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Have an erasure that waits for a person, or for its next rescan, look again now."""
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        told = service.erasures.again(request, actor=actor())
        service.ensure_runner()
        finish(service, told.id, f"{told.id}  looks again", LiveErased(), Waiting(wait, timeout), out)


def _show(service: Lifecycle, request: Request, out: Output, *, history: bool = False) -> None:
    now, approved_by = time.time(), service.erasures.approved_by(request)
    events = service.erasures.events(request.id) if history else []
    document: dict[str, Any] = {"request": request_document(request, approved_by, now)}
    if history:
        document["events"] = [event_document(event) for event in events]
    lines = [*request_lines(request, approved_by, now), *(["", *event_lines(events)] if history else [])]
    out.data(document, lines, request_next_steps(request))


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise UsageError(f"--received: {text!r} is no date; write it as 2026-01-31") from error


def _reasons(pairs: list[str]) -> dict[str, str]:
    reasons = dict(pair.partition("=")[::2] for pair in pairs)
    for system, reason in reasons.items():
        if not system.strip() or not reason.strip():
            raise UsageError("--out-of-scope needs SYSTEM=REASON, such as blue/archive=paper only")
    return reasons
