"""``tenantctl backup``: what is promised, what is kept, whether it is whole, and what may go."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tenant_lifecycle import config
from tenant_lifecycle.cli import backing_up, backup_care, options
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat, table
from tenant_lifecycle.cli.window_text import window_lines
from tenant_lifecycle.model.backup.policy import BackupPolicies, BackupPolicy
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.names import TenantId

backup_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Backups: bases, the change log, and their care."
)


def policies(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what the tenants of each tier are promised."""
    invocation = of(ctx)
    backups = config.load(invocation.config_file()).backups
    places = {"repository": backups.repository, "mirror": backups.mirror}
    document = {
        **{name: None if place is None else place.place for name, place in places.items()},
        "default_tier": backups.policies.default_tier,
        "care": asdict(backups.policies.care),
        "tiers": {name: asdict(policy) for name, policy in backups.policies.tiers.items()},
    }
    said = [f"{name:<12}  {document[name] or 'none'}" for name in places]
    invocation.output(as_json(json, output)).data(document, [*said, "", *_policy_lines(backups.policies)])


def window(
    ctx: typer.Context,
    tenant: options.Tenant,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show which moments of a tenant can be restored, and why others cannot.

    Microseconds since 1970 in the document, UTC for people. Exit code 0 also if there is none.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.restore_window(TenantId(tenant))
    invocation.output(as_json(json, output)).data({"tenant": tenant, **asdict(found)}, window_lines(found))


# In the order in which somebody needs them, which is the order of --help.
backup_app.command()(policies)
backup_app.command()(backing_up.create)
backup_app.command()(backing_up.protect)
backup_app.command("list")(backup_care.list_bases)
backup_app.command()(window)
backup_app.command()(backing_up.drill)
backup_app.command()(backing_up.drills)
backup_app.command()(backup_care.check)
backup_app.command()(backup_care.mirror)
backup_app.command()(backup_care.storage)
backup_app.command()(backup_care.prune)


def _policy_lines(policies: BackupPolicies) -> list[str]:
    headers = ("TIER", "BASE", "FULL", "KEPT", "RESTORE TO", "AT MOST BEHIND", "REGIONS", "DRILL")
    rows = [
        (f"{name} *" if name == policies.default_tier else name, *_policy_row(policy))
        for name, policy in policies.tiers.items()
    ]
    return [*table(headers, rows), "* for tenants whose tier has no policy here"]


def _policy_row(policy: BackupPolicy) -> tuple[str, ...]:
    durations = (policy.every_s, policy.full_every_s, policy.keep_s, policy.pitr_s, policy.rpo_s)
    return (
        *(format_duration(seconds) for seconds in durations),
        "2" if policy.cross_region else "1",
        format_duration(policy.drill_every_s),
    )
