"""Why a base cannot be loaded into a server, found before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.redis.facts import Facts, check_server, read_facts
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.verdicts import fine, refuse

#: Beside the live keys lie the preview's, and a key that is replaced is there once more.
SPARE = 1.3


def check_restore(server: Server, shapes: Mapping[str, Shape], facts: Mapping[str, Any]) -> list[Finding]:
    """Version, role, families without a rule, dumps that the server does not understand, room."""
    try:
        with server.session() as session:
            told = read_facts(session)
    except StoreError as exc:
        return [unanswered("redis.reachable", exc)]
    general = [one for one in check_server(told, server.name) if one.severity is not Severity.OK]
    return [*general, *_sets(server, shapes), *_dumps(server, told, facts), *_room(server, told, facts)]


def _sets(server: Server, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
    if strange := sorted(set(shapes) - set(server.whose.sets(*Treatment))):
        yield refuse(
            server.name, "redis.unmapped", f"no family in ownership.yaml for {', '.join(strange)}, which the base has",
            "add the families, or restore the others only",
        )  # fmt: skip


def _dumps(server: Server, told: Facts, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Only values of modules' types are kept as dumps."""
    dumped = {str(kind): int(count) for kind, count in dict(facts.get("dumped", {})).items() if count}
    if dumped and int(facts.get("dumps", 0)) > told.dumps:
        yield refuse(
            server.name, "redis.version",
            f"{told.product} {told.version} does not understand the dumps of {facts.get('version')}, and the base has "
            f"{sum(dumped.values())} values that are dumps ({', '.join(sorted(dumped))})",
            "restore to a server of the same version or a newer one, with the same modules",
        )  # fmt: skip


def _room(server: Server, told: Facts, facts: Mapping[str, Any]) -> Iterator[Finding]:
    needed, free = int(SPARE * int(facts.get("bytes", 0))), told.maxmemory - told.used_memory
    if told.maxmemory and needed > free:
        yield refuse(
            server.name, "redis.room",
            f"the preview needs about {needed / 2**20:.0f} MiB and {max(0, free) / 2**20:.0f} MiB are left (maxmemory)",
            "raise maxmemory for the time of the restore",
        )  # fmt: skip
    else:
        yield fine(server.name, "redis.room", f"there is room for about {needed / 2**20:.1f} MiB")
