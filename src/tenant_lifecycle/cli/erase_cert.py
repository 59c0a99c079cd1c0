"""``tenantctl erase cert``: the certificates of an erasure, for us to look at and for the customer to check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tenant_lifecycle.catalog.certificates import Kept
from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, OutputFormat, table
from tenant_lifecycle.errors import UnknownCertificate, UsageError
from tenant_lifecycle.model.erasure.certificate import rfc3339
from tenant_lifecycle.wiring.certifying import issued_bundle

cert_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Certificates of an erasure: show, issue, check, export.",
)
OFFLINE = "tenant-certificate-verify --policy policy.json FOLDER"


@cert_app.command()
def get(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show a request's certificates: the newest in full, and which ones it supersedes or were revoked."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.erasures.certificates(request)
    if not found:
        raise UnknownCertificate(
            f"no certificate was issued for {request!r}", next_step=f"tenantctl erase cert issue {request}"
        )
    said = issued_bundle(found[-1]).predicate
    document = {
        "certificates": [_document(one) for one in found],
        "certificate": said.model_dump(mode="json"),
    }
    systems = [
        (one.system_id, one.outcome.value, one.level.value if one.level else "-", one.reason)
        for one in said.systems
    ]
    lines = [
        *table(("ID", "CLASS", "ISSUED", "STAGE", "STATE"), [_row(one) for one in found]),
        "",
        *table(("SYSTEM", "OUTCOME", "LEVEL", "WHY"), systems),
        *(f"not spoken of: {one.what}: {one.reason}" for one in said.out_of_scope),
        *(f"may remain: {one}" for one in said.residual_risk),
    ]
    steps = [NextStep(f"tenantctl erase cert export {found[-1].request_id} FOLDER", "everything to check it")]
    invocation.output(as_json(json, output)).data(document, lines, steps)


@cert_app.command()
def issue(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Issue what the erasure could not issue by itself, for want of keys; the one it has is given again."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        issued = service.erasures.issue_certificate(request)
    document = {"certificate": {"id": issued.id, "digest": issued.digest, "class": issued.certificate_class}}
    lines = [f"{issued.id}  {issued.certificate_class}", f"digest  {issued.digest}"]
    invocation.output(as_json(json, output)).data(document, lines)


@cert_app.command()
def verify(
    ctx: typer.Context,
    request: options.ErasureRequest,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> int:
    """Read the newest certificate again and compare it with the audit log; exit code 9 if it does not hold.

    It is our own reading, which proves nothing to others: they use tenant-certificate-verify and a policy of theirs.
    """
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        reading = service.erasures.read_certificate(request)
    document: dict[str, Any] = {
        "certificate": reading.id,
        "class": reading.certificate_class,
        "problems": list(reading.problems),
        "offline": OFFLINE,
    }
    lines = [
        f"{reading.id}  {reading.certificate_class}",
        *(f"PROBLEM  {one}" for one in reading.problems),
        *(
            []
            if reading.problems
            else ["signatures, documents, class and the audit log's entry fit together"]
        ),
        f"This is our own reading. A customer checks it offline: {OFFLINE}",
    ]
    steps = [
        NextStep(f"tenantctl erase cert export {reading.request_id} FOLDER", "what the customer gets"),
        NextStep("tenantctl audit trust-policy", "what the customer begins with; hand it over apart"),
    ]
    invocation.output(as_json(json, output)).data(document, lines, steps)
    return ExitCode.DIFFERENCES if reading.problems else ExitCode.OK


@cert_app.command()
def export(
    ctx: typer.Context,
    request: options.ErasureRequest,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    without_tenant: Annotated[
        bool,
        typer.Option(
            "--without-tenant", help="For others than the tenant: leave out whose certificate it is."
        ),
    ] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Write the newest certificate with everything to check it, and its pages for people (HTML, PDF)."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        try:
            files = service.erasures.export_certificate(request, folder, for_tenant=not without_tenant)
        except FileExistsError as exc:
            raise UsageError(f"{folder} is not empty", next_step="name a new folder") from exc
        except OSError as exc:
            raise UsageError(f"{folder}: {exc.strerror}", next_step="name a folder that can be made") from exc
    document = {"folder": str(folder), "files": sorted(str(one.relative_to(folder)) for one in files)}
    lines = [f"{len(files)} files in {folder}", f"to check them: {OFFLINE.replace('FOLDER', str(folder))}"]
    invocation.output(as_json(json, output)).data(document, lines)


def _document(kept: Kept) -> dict[str, Any]:
    bundle = issued_bundle(kept)
    return {
        "id": kept.id,
        "class": bundle.predicate.certificate_class.value,
        "digest": bundle.digest,
        "issued_at": bundle.predicate.issued_at,
        "stage": kept.stage,
        "supersedes": kept.supersedes,
        "revoked_at": None if kept.revoked_at is None else rfc3339(kept.revoked_at),
        "revoked_because": kept.revoked_because or None,
    }


def _row(kept: Kept) -> tuple[str, ...]:
    said = issued_bundle(kept).predicate
    state = f"revoked: {kept.revoked_because}" if kept.revoked_at is not None else "valid"
    return (kept.id, said.certificate_class.value, said.issued_at, kept.stage, state)
