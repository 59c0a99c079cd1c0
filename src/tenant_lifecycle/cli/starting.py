"""``tenantctl init``, ``doctor``, ``config show`` and ``version``: before anything is moved."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated

import typer

from tenant_lifecycle import config
from tenant_lifecycle.cli import documents, options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, OutputFormat, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.logs import redacted
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.findings import Severity, refusals
from tenant_lifecycle.model.policy import MigrationPolicy

#: What `init` writes.
FILES = ("lifecycle.yaml", "ownership.yaml")

config_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the configuration.")


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path(),
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Write lifecycle.yaml and ownership.yaml, commented. Overwrites nothing."""
    there = [folder / name for name in FILES if (folder / name).exists()]
    if there:
        raise UsageError(
            f"{there[0]} is there already; nothing was written",
            next_step="move it away, or give another folder: tenantctl init DIR",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        # Mode x: somebody may have written one meanwhile.
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(starter(name))
    written = [str(folder / name) for name in FILES]
    steps = [
        NextStep("export BLUE_DSN=... GREEN_DSN=...", "the addresses of both databases"),
        NextStep("tenantctl map discover", "proposes which rows are whose"),
        NextStep("tenantctl doctor", "says what is missing and how to mend it"),
    ]
    out = of(ctx).output(as_json(json, output))
    out.data({"written": written}, [f"wrote {path}" for path in written], steps)


def starter(name: str) -> str:
    """The text of one of `FILES` as `init` writes it."""
    return (resources.files("tenant_lifecycle.cli") / "starter" / name).read_text(encoding="utf-8")


def doctor(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Read the configuration, probe every store and the control database, and say how to mend what is missing.

    Exit code 6 if something refuses.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        findings = service.doctor()
    refused = refusals(findings)
    warned = [finding for finding in findings if finding.severity is Severity.WARNING]
    total = f"{len(findings)} checks: {len(refused)} refused, {len(warned)} warnings"
    document = {"ok": not refused, "findings": documents.findings_document(findings)}
    invocation.output(as_json(json, output)).data(document, [*finding_lines(findings), total])
    if refused:
        raise typer.Exit(int(ExitCode.REFUSED))


@config_app.command("show")
def show_config(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show what the configuration comes to, defaults included, passwords left out."""
    invocation = of(ctx)
    read = config.load(invocation.config_file())
    document = config_document(read)
    rows = [
        (
            environment,
            store["name"],
            store["kind"],
            " ".join(f"{k}={v}" for k, v in store["settings"].items()),
        )
        for environment, stores in document["environments"].items()
        for store in stores
    ]
    policies = [("default", read.policy, "")] + [
        (t.name, t.policy, t.strategy.value) for t in read.tiers.values()
    ]
    tiers = [
        (name, strategy, p.cutover.value, format_duration(p.settle_s), str(p.workers))
        for name, p, strategy in policies
    ]
    lines = [
        *(f"{key:<18}  {document[key]}" for key in ("file", "control_database", "state_folder", "ownership_file")),
        "", *table(("ENVIRONMENT", "STORE", "KIND", "SETTINGS"), rows),
        "", *table(("TIER", "STRATEGY", "CUTOVER", "SETTLE", "WORKERS"), tiers, right=(4,)),
    ]  # fmt: skip
    invocation.output(as_json(json, output)).data(document, lines)


def config_document(read: config.Config) -> documents.Document:
    """The configuration as JSON; no setting is shown with its password."""
    return {
        "file": str(read.file),
        "control_database": redacted(str(read.control_database)),
        "state_folder": str(read.state_folder),
        "ownership_file": str(read.ownership_file),
        "environments": {
            environment: [
                {
                    "name": store.name,
                    "kind": store.kind,
                    "settings": {
                        key: redacted(f"{key}={value}").partition("=")[2]
                        for key, value in store.settings.items()
                    },
                }
                for store in stores.values()
            ]
            for environment, stores in read.environments.items()
        },
        "policies": _policy_document(read.policy),
        "tiers": {
            tier.name: {"strategy": tier.strategy.value, **_policy_document(tier.policy)}
            for tier in read.tiers.values()
        },
    }


def _policy_document(policy: MigrationPolicy) -> documents.Document:
    return {
        "cutover": policy.cutover.value,
        "settle_s": policy.settle_s,
        "workers": policy.workers,
        "verification_max_age_s": policy.verification_max_age_s,
        "max_repairs": policy.max_repairs,
        "flip": {
            "fence_ttl_s": policy.flip.fence_ttl_s,
            "pause_budget_s": policy.flip.pause_s,
            "lock_budget_s": policy.flip.lock_s,
            "marker_budget_s": policy.flip.marker_s,
            "lag_s": policy.flip.lag_s,
            "dirty_items": policy.flip.dirty_items,
            "attempts": policy.flip.attempts,
            "counter_margin": policy.flip.counter_margin,
        },
        "cutover_steps": list(policy.cutover_steps),
        "gates": asdict(policy.gates),
        "provision": {
            "command": list(policy.provision.command),
            "terraform": policy.provision.terraform,
            "timeout_s": policy.provision.timeout_s,
        },
    }


def version(
    ctx: typer.Context,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show the version."""
    found = metadata.version("tenant-lifecycle")
    document = {"version": found, "python": platform.python_version()}
    of(ctx).output(as_json(json, output)).data(
        document, [f"tenantctl {found} (Python {platform.python_version()})"]
    )
