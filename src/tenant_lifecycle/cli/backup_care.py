"""``tenantctl backup check|list|prune|storage|mirror``: the care of the repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_lifecycle.backups.care.report import Damage, Level, Report
from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, OutputFormat, bytes_text, count_text, table
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.names import TenantId

if TYPE_CHECKING:
    from tenant_lifecycle.backups.care.prune import Pruned
    from tenant_lifecycle.wiring.caring import ListedBase, Storage


def check(
    ctx: typer.Context,
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="L0..L3",
            help="L0 names and sizes, L1 bytes without tenants' keys, L2 contents, L3 bases and the log.",
        ),
    ] = "L2",
    repair: Annotated[bool, typer.Option("--repair", help="Mend from the mirror what is damaged.")] = False,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            metavar="DURATION",
            parser=options.duration,
            help="This check comes so often: read only as much as keeps every byte verified in time.",
        ),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Check the repository, and name each damaged object with the bases and moments that it hurts.

    Exit code 9: something is damaged, and was not mended.
    """
    invocation, wanted = of(ctx), _level(level)
    with invocation.lifecycle() as service:
        report = service.caring.check(wanted, repair=repair, every_s=every)
        alone = service.caring.unmirrored()
    document = {
        **asdict(report),
        "level": f"L{report.level.value}",
        "whole": report.whole,
        "unmirrored": alone,
    }
    steps = [] if report.whole or repair else [NextStep("tenantctl backup check --repair", "from the mirror")]
    lines = [
        *_report_lines(report),
        *(f"no second region, though its tier promises one: {one}" for one in alone),
    ]
    invocation.output(as_json(json, output)).data(document, lines, steps)
    if not report.whole:
        raise typer.Exit(int(ExitCode.DIFFERENCES))


def list_bases(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="Only this tenant's.")] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List bases, oldest first, with the time since which each is known to be whole."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.caring.bases(None if tenant is None else TenantId(tenant))
    rows = [_base_row(one) for one in found]
    headers = (
        "BASE",
        "TENANT",
        "KIND",
        "PARENT",
        "TAKEN",
        "STORES",
        "ITEMS",
        "SIZE",
        "KEPT UNTIL",
        "VERIFIED",
    )
    document = {"bases": [_base_document(one) for one in found]}
    invocation.output(as_json(json, output)).data(
        document, table(headers, rows, right=(6, 7)) if rows else ["no bases"]
    )


def prune(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without, it is only shown.")] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what may go of the repository and why; with --yes mark it, and delete what was marked long enough."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        pruned = service.caring.prune() if yes else service.caring.plan_prune()
    steps = (
        []
        if yes
        else [NextStep("tenantctl backup prune --yes", "marks; deletes only what was marked in time")]
    )
    invocation.output(as_json(json, output)).data(
        _prune_document(pruned, yes), list(_prune_lines(pruned, yes)), steps
    )


def storage(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show how many bytes each tenant takes, how well they are packed, and how far the mirror is behind."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.caring.storage()
    tenants = [{**asdict(one), "ratio": one.ratio} for one in found.tenants]
    document = {**asdict(found), "tenants": tenants}
    invocation.output(as_json(json, output)).data(document, list(_storage_lines(found)))


def mirror(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Copy to the second region what it has not, for every tenant whose tier promises it.

    Exit code 9: an object is damaged here, and so was not copied.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        done = service.caring.mirror()
    lines = [
        f"copied {count_text(done.objects)} objects, {bytes_text(done.bytes)}, {count_text(done.keys)} keys "
        f"in {format_duration(done.seconds)}",
        f"behind by {format_duration(done.before.seconds)} before, {format_duration(done.after.seconds)} after",
        *(f"damaged, not copied: {one.what}" for one in done.damaged),
    ]
    invocation.output(as_json(json, output)).data(asdict(done), lines)
    if done.damaged:
        raise typer.Exit(int(ExitCode.DIFFERENCES))


def _level(text: str) -> Level:
    levels = {f"L{level.value}": level for level in Level}
    if text.upper() not in levels:
        raise typer.BadParameter(f"{text!r} is no level; write L0, L1, L2 or L3")
    return levels[text.upper()]


def _report_lines(report: Report) -> Iterator[str]:
    verdict = "whole" if report.whole else "damaged"
    yield (
        f"{report.where}: {verdict} at level L{report.level.value}; {count_text(report.looked_at)} of "
        f"{count_text(report.objects)} objects read, {bytes_text(report.bytes_read)}, "
        f"{count_text(report.bases)} bases verified, {format_duration(report.seconds)}"
    )
    for one in report.damages:
        yield from _damage_lines(one)
    for name in report.strays:
        yield f"stray   {name}: no part of a repository"


def _damage_lines(one: Damage) -> Iterator[str]:
    yield f"{'mended ' if one.mended else 'damaged'} {one.problem.what}"
    if one.bases:
        yield f"        cannot be restored without it: {', '.join(one.bases)}"
    if one.from_us is not None:
        yield f"        no moment from {_when(one.from_us)} on, up to the next base"
    if one.mended or one.unmended:
        yield f"        {one.mended or one.unmended}"


def _base_row(one: ListedBase) -> tuple[str, ...]:
    manifest = one.manifest
    sets = [found for store in manifest.stores.values() for found in store.sets.values()]
    return (
        manifest.id, manifest.tenant, manifest.kind.value, manifest.parent or "-", _when(manifest.finished_us),
        ",".join(sorted(manifest.stores)), count_text(sum(found.fingerprint.items for found in sets)),
        bytes_text(sum(found.stored_bytes for found in sets)),
        "a person says" if manifest.expires_us is None else f"{_when(manifest.expires_us)} at least",
        "never" if one.verified_at is None else _when(round(one.verified_at * 1_000_000)),
    )  # fmt: skip


def _base_document(one: ListedBase) -> dict[str, object]:
    manifest = one.manifest
    return {
        "id": manifest.id, "tenant": manifest.tenant, "environment": manifest.environment,
        "kind": manifest.kind.value, "parent": manifest.parent, "started_us": manifest.started_us,
        "finished_us": manifest.finished_us, "expires_us": manifest.expires_us, "timeline": manifest.timeline,
        "tier": manifest.tier, "labels": dict(manifest.labels), "verified_at": one.verified_at,
        "items": {
            f"{store.store}/{name}": found.fingerprint.items
            for store in manifest.stores.values() for name, found in store.sets.items()
        },
    }  # fmt: skip


def _prune_document(pruned: Pruned, done: bool) -> dict[str, object]:
    return {
        "done": done, "marked": pruned.marked, "spared": pruned.spared, "deleted": pruned.deleted,
        "deleted_bytes": pruned.deleted_bytes,
        "tenants": [
            {
                "directory": plan.directory, "refused": plan.refused,
                "doomed": [asdict(one) for one in plan.doomed], "marked": [asdict(one) for one in plan.marked],
                "bases": [asdict(one) for one in plan.retention.bases] if plan.retention else [],
            }
            for plan in pruned.plans
        ],
    }  # fmt: skip


def _prune_lines(pruned: Pruned, done: bool) -> Iterator[str]:
    for plan in pruned.plans:
        if plan.refused:
            yield f"{plan.directory}: nothing goes: {plan.refused}"
        marked = {one.name for one in plan.marked}
        for one in plan.doomed:
            word = "marked" if one.name in marked else "may go"
            yield f"{word}  {one.name}  {bytes_text(one.size)}  {one.why}"
    if done:
        yield (
            f"{pruned.marked} newly marked, {pruned.spared} wanted again, {pruned.deleted} deleted "
            f"({bytes_text(pruned.deleted_bytes)})"
        )
    elif not any(plan.doomed for plan in pruned.plans):
        yield "nothing may go"


def _storage_lines(found: Storage) -> Iterator[str]:
    rows = [
        (
            one.tenant or f"{one.directory[:10]}.. (keys destroyed or unreadable)", count_text(one.bases),
            bytes_text(one.stored), bytes_text(one.packs), bytes_text(one.log), bytes_text(one.logical),
            "-" if one.ratio is None else f"{one.ratio:.1f}", bytes_text(one.unreferenced), bytes_text(one.cold),
        )
        for one in found.tenants
    ]  # fmt: skip
    headers = ("TENANT", "BASES", "STORED", "PACKS", "LOG", "LOGICAL", "RATIO", "UNUSED", "MAY BE COLD")
    yield from table(headers, rows, right=range(1, 9))
    yield ""
    yield f"repository  {found.where}"
    if found.lag is None:
        yield "mirror      none"
    else:
        behind = format_duration(found.lag.seconds)
        yield f"mirror      {found.mirror}, {count_text(found.lag.objects)} objects behind, the oldest by {behind}"


def _when(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
