"""Stores that stay where they are while tenants move: logs and analytics, which both environments write to.

The log service is the emulator that holds the objects too. It forgets its lines when it ends; they are made again.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

import duckdb
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.sample import TENANTS
from tenant_lifecycle.sandbox.state import State

#: The environment in lifecycle.yaml that holds them.
ASIDE = "aside"
GROUP, SHARED_STREAM = "/rag/app", "shared-1"
_LINES, _EVENTS = 40, 60
#: Lines are from yesterday. Nobody writes to them, so streams count as quiet after a second.
_AGE_MS = 24 * 3600 * 1000


def aside_settings(state: State, folder: Path, endpoint: str | None) -> dict[str, dict[str, Any]]:
    """Settings by store name; ``endpoint``: of the emulator, None if it is no part."""
    found: dict[str, dict[str, Any]] = {}
    if Part.LOGS in state.parts and endpoint is not None:
        found[Part.LOGS] = {
            "kind": "cloudwatch", "endpoint": endpoint, "region": "us-east-1", "access_key": "sandbox",
            "secret_key": "sandbox", "old_lines": "drop", "quiet": "1", "moves": False,
        }  # fmt: skip
    if Part.ANALYTICS in state.parts:
        path = str(folder.absolute() / "analytics.duckdb")
        found[Part.ANALYTICS] = {"kind": "duckdb", "path": path, "moves": False}
    return found


def fill_aside(state: State, settings: Mapping[str, Mapping[str, Any]], pid: int | None) -> None:
    """Fill what is empty; ``pid``: of the emulator, which is empty whenever it is started."""
    if Part.LOGS in settings and state.filled.get(f"{ASIDE}/{Part.LOGS}") != f"pid {pid}":
        fill_logs(settings[Part.LOGS])
        state.filled[f"{ASIDE}/{Part.LOGS}"] = f"pid {pid}"
    if Part.ANALYTICS in settings and f"{ASIDE}/{Part.ANALYTICS}" not in state.filled:
        fill_analytics(Path(settings[Part.ANALYTICS]["path"]))
        state.filled[f"{ASIDE}/{Part.ANALYTICS}"] = "kept"


def log_client(settings: Mapping[str, Any]) -> Any:
    """A client of the log service, as the driver makes it."""
    return boto3.client(
        "logs", endpoint_url=settings["endpoint"], region_name=settings["region"],
        aws_access_key_id=settings["access_key"], aws_secret_access_key=settings["secret_key"],
    )  # fmt: skip


def fill_logs(settings: Mapping[str, Any]) -> None:
    """A stream for each tenant, and one that all of them share."""
    logs, dice = log_client(settings), random.Random(4)
    start = int(time.time() * 1000) - _AGE_MS
    logs.create_log_group(logGroupName=GROUP)
    shared: list[tuple[int, str]] = []
    for tenant in TENANTS:
        lines = [(start + n, _line(tenant.id, dice.randrange(10_000))) for n in range(_LINES)]
        _put(logs, f"tenant-{tenant.id}/web", lines)
        shared += lines[::4]
    _put(logs, SHARED_STREAM, sorted(shared))


def _line(tenant: str, took: int) -> str:
    return json.dumps({"tenant": tenant, "event": "answered", "took_ms": took}, ensure_ascii=False)


def _put(logs: Any, stream: str, lines: list[tuple[int, str]]) -> None:
    logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    events = [{"timestamp": at, "message": text} for at, text in lines]
    logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def fill_analytics(path: Path) -> None:
    """Events of every tenant in one table, and a calendar of nobody."""
    dice = random.Random(5)
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE events (tenant_id VARCHAR, n INTEGER, took_ms INTEGER)")
        rows = [(tenant.id, n, dice.randrange(10_000)) for tenant in TENANTS for n in range(_EVENTS)]
        db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
        db.execute("CREATE TABLE calendar AS SELECT range AS day FROM range(365)")
