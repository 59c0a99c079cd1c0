"""``tenantctl audit``: what was done, in an order that nobody can change unseen."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import actor, of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import OutputFormat, table
from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.commitments import sha256_hex
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.monitor import Stored

audit_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The audit log: what was done, and that nobody changed it.",
)
Operation = Annotated[
    str | None, typer.Option("--operation", metavar="ID", help="Only entries about this operation.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many entries at most.")]


@audit_app.command("list")
def list_entries(
    ctx: typer.Context,
    operation: Operation = None,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", help="Begin after this entry.")] = -1,
    limit: Limit = 100,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """List entries, oldest first."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.audit().entries(after=after, limit=limit, operation_id=operation)
    invocation.output(as_json(json, output)).data(_document(found), _lines(found))


@audit_app.command()
def tail(
    ctx: typer.Context,
    operation: Operation = None,
    limit: Limit = 20,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show the last entries."""
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        found = service.audit().newest(limit, operation_id=operation)
    invocation.output(as_json(json, output)).data(_document(found), _lines(found))


@audit_app.command()
def verify(
    ctx: typer.Context,
    head: Annotated[
        list[Path] | None,
        typer.Option(
            "--head",
            metavar="FILE",
            help="A signed head kept elsewhere; only such a one shows a cut off end.",
        ),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> int:
    """Read the whole log, and compare it with every signed head; exit code 9 if anything is wrong."""
    invocation = of(ctx)
    outside = [_text(path) for path in head or ()]
    with invocation.lifecycle() as service:
        log = service.audit()
        found, kept = log.review(outside), len(log.checkpoints())
    document = {
        "size": found.size,
        "root": found.root.hex(),
        "signed_heads": kept,
        "outside_heads": len(outside),
        "redacted": found.redacted,
        "alarms": [asdict(alarm) for alarm in found.alarms],
    }
    lines = [
        f"entries  {found.size}, {found.redacted} redacted",
        f"root     {found.root.hex()}",
        f"heads    {kept} kept here, {len(outside)} from outside",
        *(f"ALARM    {alarm.fault.value}: {alarm.message}" for alarm in found.alarms),
        *([] if kept or outside else ["note     no head was ever signed: only the order was checked"]),
    ]
    invocation.output(as_json(json, output)).data(document, lines)
    return ExitCode.DIFFERENCES if found.alarms else ExitCode.OK


@audit_app.command()
def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="SIZE", help="Also prove that nothing changed since then."),
    ] = None,
    openings: Annotated[
        bool, typer.Option("--openings", help="Also write whom and what the entries are about.")
    ] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Write the log, its newest signed head and a proof for somebody who checks it elsewhere."""
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", next_step="name a new folder")
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        log = service.audit()
        newest = log.checkpoint()
        proof = () if since is None else _proof(log, since, newest.size)
        folder.mkdir(parents=True, exist_ok=True)
        count = _write_entries(log, folder / "entries.jsonl", newest.size, openings)
    (folder / "head.checkpoint").write_text(newest.note, encoding="utf-8")
    if since is not None:
        (folder / "consistency.txt").write_text(notes.hashes_text(proof), encoding="ascii")
    document = {"folder": str(folder), "entries": count, "size": newest.size}
    lines = [f"{count} entries and a signed head of {newest.size} in {folder}"]
    invocation.output(as_json(json, output)).data(document, lines)


@audit_app.command()
def redact(
    ctx: typer.Context,
    operation: Annotated[str, typer.Argument(metavar="OPERATION", help="The operation's whole id.")],
    reason: options.Reason = "",
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Erase for ever whom and what the entries of an operation are about; every proof stays valid."""
    if not reason:
        raise UsageError("a redaction needs a reason", next_step="say why with --reason")
    invocation = of(ctx)
    with invocation.lifecycle() as service:
        count = service.audit().redact(operation, actor=actor(), reason=reason)
    lines = [f"{count} entries are redacted"]
    invocation.output(as_json(json, output)).data({"operation": operation, "redacted": count}, lines)


@audit_app.command("new-key")
def new_key(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; never overwritten.")
    ],
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Make an Ed25519 key that signs the log's heads, or a role's part of certificates."""
    key = LocalSigner.generate(Role.LOG)
    try:
        key.write(file)
    except OSError as exc:
        raise UsageError(
            f"{file}: {exc.strerror}", next_step="name a new file in a folder that exists"
        ) from exc
    public = key.public
    document = {"file": str(file), "public_key": public.base64, "keyid": public.keyid}
    lines = [f"file        {file}", f"public key  {public.base64}", f"keyid       {public.keyid}"]
    of(ctx).output(as_json(json, output)).data(document, lines)


@audit_app.command("trust-policy")
def trust_policy(
    ctx: typer.Context,
    valid_days: Annotated[
        int, typer.Option("--valid-days", min=1, help="How long from now the keys count.")
    ] = 365,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Write it there; never overwritten.")
    ] = None,
) -> None:
    """Write the policy that a customer starts from: our public keys, the log's name, what was revoked.

    Hand it over on another way than the certificates, and compare its digest by telephone: a policy that came with
    a certificate proves nothing.
    """
    with of(ctx).lifecycle() as service:
        policy = service.erasures.office.trust_policy(valid_days=valid_days)
    text = jsonlib.dumps(policy, indent=2) + "\n"
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as there:
            there.write(text)
    except OSError as exc:
        raise UsageError(f"{file}: {exc.strerror}", next_step="name a new file") from exc
    typer.echo(f"{file}  sha256 {sha256_hex(text.encode())}")


def _proof(log: AuditLog, since: int, size: int) -> tuple[bytes, ...]:
    try:
        return log.consistency(since, size)
    except ValueError as exc:
        raise UsageError(f"--since: {exc}") from exc


def _write_entries(log: AuditLog, path: Path, size: int, openings: bool) -> int:
    """The entries that the head covers, one a line: the leaf's very text, and its opening if asked for."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for stored in log.all():
            if stored.entry.seq >= size:
                break
            line: dict[str, Any] = {"leaf": stored.entry.leaf().decode()}
            if openings:
                line["opening"] = _opening(stored)
            file.write(jsonlib.dumps(line) + "\n")
            count += 1
    return count


def _opening(stored: Stored) -> dict[str, Any] | None:
    one = stored.opening
    if one is None:
        return None
    return {"salt": one.salt.hex(), "actor": one.actor, "tenant": one.tenant, "payload": dict(one.payload)}


def _document(found: list[Stored]) -> dict[str, Any]:
    return {
        "entries": [
            {**asdict(stored.entry), "hash": stored.nodes[0].hex(), "redacted": stored.opening is None}
            for stored in found
        ]
    }


def _lines(found: list[Stored]) -> list[str]:
    rows = [
        (
            str(one.entry.seq),
            datetime.fromtimestamp(one.entry.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            one.entry.type,
            one.entry.operation_id or "-",
            one.entry.step or "-",
            one.entry.after or "-",
            "redacted" if one.opening is None else one.opening.actor,
        )
        for one in found
    ]
    return table(("SEQ", "AT (UTC)", "TYPE", "OPERATION", "STEP", "STATE", "BY"), rows, right=(0,))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot be read") from exc
