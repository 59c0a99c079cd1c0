"""``tenantctl sandbox``: two environments of a sample application on this machine, and load for them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_lifecycle.cli import options
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.invocation import of
from tenant_lifecycle.cli.options import as_json
from tenant_lifecycle.cli.output import NextStep, OutputFormat, table

if TYPE_CHECKING:
    from tenant_lifecycle.sandbox.environment import EnvironmentStatus, Sandbox, ServerStatus
    from tenant_lifecycle.sandbox.http_load.config import HttpSummary
    from tenant_lifecycle.sandbox.ledger_check import LedgerReport
    from tenant_lifecycle.sandbox.load import LoadSummary

sandbox_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Servers on this machine with a sample application, to try everything on.",
)

Folder = Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where the sandbox is kept.")]
DEFAULT_FOLDER = Path(".sandbox")


class PartName(StrEnum):
    """What a sandbox can consist of."""

    POSTGRES = "postgres"
    REDIS = "redis"
    VECTORS = "vectors"
    OBJECTS = "objects"
    LOGS = "logs"
    ANALYTICS = "analytics"
    APP = "app"
    ROUTER = "router"


class GreenData(StrEnum):
    """What green holds at first."""

    EMPTY = "empty"
    SCHEMA = "schema"
    RESIDENTS = "residents"


@sandbox_app.command()
def up(
    ctx: typer.Context,
    folder: Folder = DEFAULT_FOLDER,
    blue: Annotated[int, typer.Option("--blue", help="PostgreSQL version of blue.")] = 16,
    green: Annotated[int, typer.Option("--green", help="PostgreSQL version of green.")] = 18,
    green_data: Annotated[
        GreenData,
        typer.Option("--green-data", help="Green at first: empty, with tables, or with two residents too."),
    ] = GreenData.RESIDENTS,
    scale: Annotated[float, typer.Option("--scale", min=0.001, help="1.0 is about 200,000 rows.")] = 1.0,
    only: Annotated[
        list[PartName] | None,
        typer.Option("--only", help="Nothing but PostgreSQL and these parts; may be repeated. Default: all."),
    ] = None,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Start two environments with all their stores, the sample application and a router, and fill them; what is
    there already stays as it is.

    They run until `tenantctl sandbox down`.
    """
    with _brought():
        from tenant_lifecycle.sandbox.environment import Fill, Sandbox
        from tenant_lifecycle.sandbox.parts import Part

        parts = [Part(name.value) for name in only or PartName]
        sandbox = Sandbox(folder, {"blue": blue, "green": green}, parts=parts)
        status = sandbox.up(scale=scale, green=Fill(green_data))
        servers = sandbox.servers()
    config = folder / "lifecycle.yaml"
    steps = [
        NextStep(f"tenantctl --config {config} tenant list"),
        NextStep(f"tenantctl --config {config} migrate plan acme --from blue --to green"),
    ]
    document = {**_document(status, servers), "config": str(config)}
    of(ctx).output(as_json(json, output)).data(document, _lines(status, servers), steps)


@sandbox_app.command()
def down(
    ctx: typer.Context,
    folder: Folder = DEFAULT_FOLDER,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete the folder with all data as well.")
    ] = False,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Stop all servers; without --remove they come back as they were."""
    with _brought():
        found = _existing(folder)
        stopped = [one.name for one in found.servers() if one.pid is not None]
        found.down(remove=remove)
    said = f"stopped {', '.join(stopped) or 'nothing'}{f'; removed {folder}' if remove else ''}"
    of(ctx).output(as_json(json, output)).data({"stopped": stopped, "removed": remove}, [said])


@sandbox_app.command()
def status(
    ctx: typer.Context,
    folder: Folder = DEFAULT_FOLDER,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Show both environments and every server."""
    with _brought():
        sandbox = _existing(folder)
        found, servers = sandbox.status(), sandbox.servers()
    steps = [NextStep("tenantctl sandbox up")] if not found else []
    of(ctx).output(as_json(json, output)).data(_document(found, servers), _lines(found, servers), steps)


@sandbox_app.command()
def visit(
    ctx: typer.Context,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant", metavar="TENANT=SESSIONS", help="How many sessions of whom; may be repeated."
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="DURATION", parser=options.duration, help="Default: until Ctrl-C."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, help="Requests a second, all sessions together.")
    ] = 50.0,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FOLDER", help="Default: a new one in the sandbox's folder."),
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Use the application over HTTP as people do, until Ctrl-C, then hold the ledger of acknowledged requests
    against every store of the environments that are the tenants' writers by then.

    Exit code 1 if a request failed or a read was stale, or if something was lost, doubled, is old or is back.
    """
    speak = of(ctx).output(as_json(json, output))
    with _brought():
        from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
        from tenant_lifecycle.sandbox.http_load.load import run_http_load

        sandbox = _running(folder)
        urls = sandbox.urls
        if not urls:
            raise typer.BadParameter(
                "this sandbox was started without the application", param_hint="--folder"
            )
        config = HttpLoadConfig(
            urls=[urls["router"]] if "router" in urls else list(urls.values()),
            tenants=_numbers(tenant, "--tenant") or {"acme": 3, "globex": 1, "initech": 1},
            ledger=ledger or folder / f"ledger-{time.strftime('%Y%m%d-%H%M%S')}",
            seconds=seconds,
            rate=rate,
        )
        summary = run_http_load(
            config, lambda _: speak.say(f"visiting; the ledger is {config.ledger}; Ctrl-C ends it")
        )
        report = _checked(config.ledger, config.tenants, sandbox)
    document, lines = _told_of_visit(summary, report)
    speak.data({**document, "ledger": str(config.ledger)}, lines)
    if summary.failed or summary.stale_reads or not report.ok:
        raise typer.Exit(int(ExitCode.FAILED))


@sandbox_app.command()
def load(
    ctx: typer.Context,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant", metavar="TENANT=WRITERS", help="How many writers for whom; may be repeated."
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="DURATION", parser=options.duration, help="Default: until Ctrl-C."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.1, help="Writes a second, all writers together.")
    ] = 100.0,
    burst: Annotated[
        list[str] | None,
        typer.Option("--burst", metavar="TENANT=ROWS", help="Row changes a second in bulk; may be repeated."),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FOLDER", help="Default: a new one in the sandbox's folder."),
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
    json: options.Json = False,
    output: options.Format = OutputFormat.TEXT,
) -> None:
    """Write as an application would, until Ctrl-C, then hold the ledger of acknowledged writes against the
    databases that are the tenants' writers by then.

    Exit code 1 if a write failed, was lost, doubled or is not the last one, or if something deleted is back.
    """
    speak = of(ctx).output(as_json(json, output))
    with _brought():
        from tenant_lifecycle.sandbox.load import LoadConfig, run_load

        sandbox = _running(folder)
        config = LoadConfig(
            environments={name: sandbox.dsn(name, "rag_app") for name in sandbox.dsns},
            tenants=_numbers(tenant, "--tenant") or {"acme": 3, "globex": 1, "initech": 1},
            ledger=ledger or folder / f"ledger-{time.strftime('%Y%m%d-%H%M%S')}",
            seconds=seconds,
            rate=rate,
            burst=_numbers(burst, "--burst"),
        )
        summary = run_load(
            config, lambda _: speak.say(f"writing; the ledger is {config.ledger}; Ctrl-C ends it")
        )
        report = _checked(config.ledger, {*config.tenants, *config.burst}, sandbox)
    document, lines = _told(summary, report)
    speak.data({**document, "ledger": str(config.ledger)}, lines)
    if summary.failed or not report.ok:
        raise typer.Exit(int(ExitCode.FAILED))


def _told(summary: LoadSummary, report: LedgerReport) -> tuple[dict[str, object], list[str]]:
    """The result of a load, for programs and for people."""
    lines = [
        f"acknowledged  {summary.acknowledged} in {summary.seconds:.1f} s, {summary.burst_rows} rows in bulk",
        f"failed        {summary.failed}",
        f"unknown       {summary.unknown}, of them committed {report.unknown_committed}",
        *_told_of(report),
        *summary.errors,
    ]
    return {**asdict(summary), **_wrong(report)}, lines


def _told_of_visit(summary: HttpSummary, report: LedgerReport) -> tuple[dict[str, object], list[str]]:
    lines = [
        f"requests      {summary.requests} in {summary.seconds:.1f} s, {summary.reads} of them reads",
        f"failed        {summary.failed}, {summary.repeated} sent once more",
        f"stale reads   {len(summary.stale_reads)}",
        *_told_of(report),
        *summary.stale_reads[:20],
        *summary.errors,
    ]
    return {**asdict(summary), **_wrong(report)}, lines


def _wrong(report: LedgerReport) -> dict[str, int]:
    """How often the stores are not as the ledger says, by kind."""
    return {
        "lost": report.lost,
        "duplicated": report.duplicated,
        "resurrected": report.resurrected,
        "stale": report.stale,
        "phantom": report.phantom,
    }


def _told_of(report: LedgerReport) -> list[str]:
    return [
        *(f"{kind:<12}  {count}" for kind, count in _wrong(report).items()),
        *(f"{one.wrong}: {one.table}: {one.detail}" for one in report.violations[:20]),
    ]


def _checked(ledger: Path, tenants: Collection[str], sandbox: Sandbox) -> LedgerReport:
    """The ledger against each tenant's present writer."""
    from tenant_lifecycle.client.gate import WriterGate
    from tenant_lifecycle.sandbox.ledger_check import LedgerReport, check

    dsns = {name: sandbox.dsn(name, "rag_app") for name in sandbox.dsns}
    gate = WriterGate(dsns, next(iter(dsns)))
    places: dict[str, list[str]] = {}
    for tenant in tenants:
        places.setdefault(gate.writer(tenant).environment, []).append(tenant)
    report = LedgerReport(0, 0, 0, 0, 0)
    for name, held in places.items():
        with sandbox.items(name) as items:
            report += check(ledger, sandbox.dsn(name), held, items)
    return report


@contextmanager
def _brought() -> Iterator[None]:
    """What the extra brings may be missing."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise typer.BadParameter(f"{exc.name} is missing: pip install 'tenant-lifecycle[sandbox]'") from exc


def _existing(folder: Path) -> Sandbox:
    """The sandbox of a folder, whatever its versions."""
    from tenant_lifecycle.sandbox.environment import Sandbox

    return Sandbox.of(folder)


def _running(folder: Path) -> Sandbox:
    found = _existing(folder)
    if not found.status() or any(one.pid is None for one in found.status()):
        raise typer.BadParameter(
            f"no sandbox runs in {folder}; tenantctl sandbox up starts one", param_hint="--folder"
        )
    return found


def _numbers(given: list[str] | None, option: str) -> dict[str, int]:
    """``acme=3`` by tenant; the id may hold an equals sign."""
    numbers: dict[str, int] = {}
    for item in given or ():
        name, _, number = item.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise typer.BadParameter(f"{item!r} is not TENANT=NUMBER", param_hint=option)
        numbers[name] = int(number)
    return numbers


def _document(status: list[EnvironmentStatus], servers: list[ServerStatus]) -> dict[str, object]:
    return {"environments": [asdict(one) for one in status], "servers": [asdict(one) for one in servers]}


def _lines(status: list[EnvironmentStatus], servers: list[ServerStatus]) -> list[str]:
    if not status:
        return ["no sandbox here"]
    rows = [(one.name, str(one.major), one.filled or "-", one.dsn) for one in status]
    processes = [(one.name, str(one.port), f"pid {one.pid}" if one.pid else "stopped") for one in servers]
    return [
        *table(("ENVIRONMENT", "POSTGRESQL", "DATA", "DSN"), rows),
        "",
        *table(("SERVER", "PORT", "PROCESS"), processes),
    ]
