"""``tenantctl clone``: a tenant as it was, masked, under another name, for a time."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated

import typer

from tenant_lifecycle.cli import documents, op, options
from tenant_lifecycle.cli.confirming import confirm_tenant
from tenant_lifecycle.cli.ending import Waiting, finish
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Ended
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import Line, NextStep, OutputFormat, count_text, styled, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.masking.modes import Mode
from tenant_lifecycle.model.backup.clone import Clone
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.wiring.cloning import ClonePlan, WantedClone

clone_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Copies of a tenant without its people, for a time."
)

_Source = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant that is cloned.")]
_Clone = Annotated[
    str, typer.Argument(metavar="CLONE", help="A clone's tenant id, its id, or the beginning of one.")
]
_As = Annotated[str, typer.Option("--as", metavar="TENANT", help="The clone's own tenant id.")]
_In = Annotated[str, typer.Option("--in", metavar="ENVIRONMENT", help="The environment it comes into.")]
_To = Annotated[
    str,
    typer.Option(
        "--to", metavar="WHEN", help="As of then: a time with its offset, a base, mark:NAME, latest."
    ),
]
_Mode = Annotated[Mode, typer.Option("--mode", help="Which parts it has.")]
_Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="Only this data type instead: documents, embeddings, metadata, configs; may be repeated.",
    ),
]
_Ttl = Annotated[
    float,
    typer.Option("--ttl", metavar="DURATION", parser=options.duration, help="After which it is taken away."),
]
_Owner = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for it; default: you.")]
_Purpose = Annotated[str, typer.Option("--purpose", metavar="TEXT", help="What it is for.")]
_DAY_S = 86400.0


@clone_app.command()
def plan(
    ctx: typer.Context,
    tenant: _Source,
    name: _As,
    environment: _In,
    purpose: _Purpose = "look at the plan",
    to: _To = "latest",
    mode: _Mode = Mode.FULL,
    data: _Data = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what a clone would have, and everything that would refuse it. Changes nothing.

    Exit code 6 if the real run would be refused.
    """
    invocation = of(ctx)
    wanted = WantedClone(
        TenantId(tenant), TenantId(name), environment, actor(), purpose, _DAY_S, to, mode, tuple(data or ())
    )
    with invocation.lifecycle() as service:
        made = service.cloning.plan(wanted)
    words = shlex.join((tenant, "--as", name, "--in", environment, "--to", to))
    command = f"tenantctl clone start {words} --purpose ..."
    steps = [] if made.refusals else [NextStep(command)]
    invocation.output(as_json(json, output)).data(_plan_document(made), _plan_lines(made), steps)
    if made.refusals:
        raise typer.Exit(int(ExitCode.REFUSED))


@clone_app.command()
def start(
    ctx: typer.Context,
    tenant: _Source,
    name: _As,
    environment: _In,
    purpose: _Purpose,
    owner: _Owner = "",
    ttl: _Ttl = 7 * _DAY_S,
    to: _To = "latest",
    mode: _Mode = Mode.FULL,
    data: _Data = None,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Mask a tenant into a place that nobody sees, look through it for leaks, and only then show it.

    A leak destroys it: exit code 9.
    """
    invocation = of(ctx)
    wanted = WantedClone(
        TenantId(tenant),
        TenantId(name),
        environment,
        owner or actor(),
        purpose,
        ttl,
        to,
        mode,
        tuple(data or ()),
    )
    with invocation.lifecycle() as service:
        operation = service.cloning.start(wanted, actor=actor(), reason=reason)
        service.ensure_runner()
        said = f"{operation.id}  clones {tenant} as {name}"
        out = invocation.output(as_json(json, output))
        finish(service, operation.id, said, Ended(), Waiting(wait, timeout), out)


@clone_app.command()
def watch(
    ctx: typer.Context,
    operation: options.OperationId,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Look on while a clone is made. Ctrl-C ends the looking, never the clone."""
    op.look_on(ctx, operation, "clone", timeout, as_json(json, output))


@clone_app.command("list")
def list_clones(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Option("--of", metavar="TENANT", help="Only of this tenant.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are gone, too.")] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List clones with their owners and ends, oldest first."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.cloning.list(every=every, source=source)
    rows = [
        (
            one.tenant_id, one.environment, one.state.value, one.source, time_text(one.at_us), one.mode, one.owner,
            documents.moment(one.expires_at) or "",
        )
        for one in found
    ]  # fmt: skip
    headers = ("CLONE", "IN", "STATE", "OF", "AS OF", "MODE", "OWNER", "UNTIL")
    lines = table(headers, rows) if rows else ["no clones"]
    invocation.output(as_json(json, output)).data({"clones": [clone_document(one) for one in found]}, lines)


@clone_app.command()
def get(
    ctx: typer.Context,
    clone: _Clone,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show a clone and what the gate found in it: kinds, places and counts, never a value."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.cloning.register.find(clone)
    invocation.output(as_json(json, output)).data({"clone": clone_document(found)}, _clone_lines(found))


@clone_app.command()
def refresh(
    ctx: typer.Context,
    clone: _Clone,
    to: _To = "latest",
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Make a clone anew from another moment. The old one stays until the new one has passed the gate."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        operation = service.cloning.refresh(clone, to=to, actor=actor(), reason=reason)
        service.ensure_runner()
        said = f"{operation.id}  makes {operation.tenant_id} anew"
        out = invocation.output(as_json(json, output))
        finish(service, operation.id, said, Ended(), Waiting(wait, timeout), out)


@clone_app.command()
def delete(
    ctx: typer.Context,
    clone: _Clone,
    reason: options.Reason = "",
    wait: options.Wait = True,
    timeout: options.Timeout = None,
    confirm: options.Confirm = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Take a clone away. Asks for its tenant id."""
    invocation = of(ctx)
    out = invocation.output(as_json(json, output))
    with invocation.lifecycle() as service:
        found = service.cloning.register.find(clone)
        confirm_tenant(found.tenant_id, f"This will delete all of the clone {found.tenant_id}", confirm, out)
        operation = service.cloning.delete(found.id, actor=actor(), reason=reason)
        service.ensure_runner()
        said = f"{operation.id}  takes {operation.tenant_id} away"
        finish(service, operation.id, said, Ended(), Waiting(wait, timeout), out)


def clone_document(clone: Clone) -> documents.Document:
    return {
        "id": clone.id,
        "source": clone.source,
        "at": time_text(clone.at_us),
        "tenant": clone.tenant_id,
        "environment": clone.environment,
        "mode": clone.mode,
        "owner": clone.owner,
        "purpose": clone.purpose,
        "state": clone.state.value,
        "created_at": documents.moment(clone.created_at),
        "expires_at": documents.moment(clone.expires_at),
        "report": clone.report,
    }


def _clone_lines(clone: Clone) -> Iterator[Line]:
    yield styled(f"CLONE  {clone.tenant_id} in {clone.environment}  {clone.state.value}", "bold")
    yield f"of {clone.source} as of {time_text(clone.at_us)}, {clone.mode}; {clone.purpose}"
    yield f"owner {clone.owner}, until {documents.moment(clone.expires_at)}"
    report = clone.report
    if report is None:
        yield "the gate was not asked yet"
        return
    yield f"gate {'passed' if report['passed'] else 'FAILED'}: {report['leaked']} leak(s)"
    yield from (f"  {leak['what']} ({leak['kind']}) in {leak['where']}" for leak in report["leaks"])
    for one in report["checks"]:
        yield from (f"  {one['name']}: {problem}" for problem in one["problems"])


def _plan_lines(plan: ClonePlan) -> Iterator[Line]:
    wanted = plan.wanted
    title = f"CLONE  {wanted.source} as {wanted.name} in {wanted.environment}"
    yield styled(f"{title}  as of {time_text(plan.chosen.at_us)}", "bold")
    rows = [(store, name, count_text(n)) for store, sets in plan.items.items() for name, n in sets.items()]
    yield from table(("STORE", "SET", "ITEMS OF THE SOURCE"), rows, right=(2,))
    yield ""
    yield from finding_lines(one for one in plan.findings if one.severity is Severity.WARNING)
    yield f"REFUSALS  {len(plan.refusals) or 'none'}"
    yield from finding_lines(plan.refusals)


def _plan_document(plan: ClonePlan) -> documents.Document:
    wanted = plan.wanted
    return {
        "source": wanted.source,
        "tenant": wanted.name,
        "environment": wanted.environment,
        "at": time_text(plan.chosen.at_us),
        "mode": wanted.mode.value,
        "types": list(wanted.types),
        "stores": {store: dict(sets) for store, sets in plan.items.items()},
        "findings": [documents.finding_document(finding) for finding in plan.findings],
        "refused": bool(plan.refusals),
    }
