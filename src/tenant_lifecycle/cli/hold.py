"""``tenantctl hold``: legal holds, which forbid every deletion of a tenant's data."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.erase_text import destroyed_lines, hold_document, holds_table
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, Output, OutputFormat
from tenant_lifecycle.model.erasure.holds import Hold, HoldState
from tenant_lifecycle.model.erasure.request import Exception17

hold_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Legal holds: forbid deletions.")

_Hold = Annotated[str, typer.Argument(metavar="HOLD", help="A hold's id, or the beginning of one.")]


@hold_app.command()
def add(
    ctx: typer.Context,
    tenant: Annotated[
        list[str], typer.Argument(metavar="TENANT...", help="The tenant, under every name it has.")
    ],
    matter: Annotated[str, typer.Option("--matter", help="Reference of the legal matter.")],
    ground: Annotated[
        Exception17, typer.Option("--ground", help="Exception of Art. 17(3).")
    ] = Exception17.LEGAL_CLAIMS,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system", help="Only this one: blue/postgres, or postgres everywhere; may be repeated."
        ),
    ] = None,
    set_name: Annotated[
        list[str] | None, typer.Option("--set", help="Only this set of it; may be repeated.")
    ] = None,
    review: Annotated[
        float | None,
        typer.Option(
            "--review", metavar="DURATION", parser=options.duration, help="After which to look at it again."
        ),
    ] = None,
    reason: options.Reason = "",
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Place a hold. It blocks at once: when this returns, nothing that it covers is being deleted.

    It lapses after 72 hours unless a second person approves it.
    """
    invocation, now = of(ctx), time.time()
    with invocation.lifecycle() as service:
        placed = service.erasures.place_hold(
            matter,
            ground,
            tenant,
            actor=actor(),
            reason=reason,
            systems=system or (),
            sets=set_name or (),
            review_at=None if review is None else now + review,
        )
    document = {
        "hold": hold_document(placed.hold, time.time()),
        "destroyed_before": {name: dict(items) for name, items in placed.destroyed.items()},
    }
    lines = [*holds_table([placed.hold], time.time()), *destroyed_lines(placed.destroyed)]
    out = invocation.output(as_json(json, output))
    out.data(document, lines, [NextStep(f"tenantctl hold approve {placed.hold.id}", "by another person")])


@hold_app.command("list")
def list_holds(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those about this tenant.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that block nothing any more, too.")] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List holds, oldest first."""
    invocation, now = of(ctx), time.time()
    with invocation.lifecycle() as service:
        found = [
            one
            for one in service.erasures.holds.every()
            if (every or one.blocks(now)) and (tenant is None or one.is_about([tenant]))
        ]
    documents = [hold_document(one, now) for one in found]
    invocation.output(as_json(json, output)).data({"holds": documents}, holds_table(found, now))


@hold_app.command()
def approve(
    ctx: typer.Context,
    hold: _Hold,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Make a proposed hold last; by another person than the one who placed it."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        changed = service.erasures.approve_hold(hold, actor=actor())
    _show(changed, invocation.output(as_json(json, output)))


@hold_app.command()
def release(
    ctx: typer.Context,
    hold: _Hold,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is not needed any more.")],
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Ask for a release, or confirm what another person asked for. It goes on blocking for a while after that."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        changed = service.erasures.release_hold(hold, actor=actor(), reason=reason)
    _show(changed, invocation.output(as_json(json, output)))


def _show(hold: Hold, out: Output) -> None:
    now = time.time()
    steps = []
    if hold.state(now) is HoldState.RELEASE_REQUESTED:
        steps = [NextStep(f"tenantctl hold release {hold.id} --reason ...", "by another person")]
    out.data({"hold": hold_document(hold, now)}, holds_table([hold], now), steps)
