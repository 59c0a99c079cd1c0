"""A tenant's route as one entry of an HAProxy map, and back.

The key is the tenant's header. The value says everything, so that one command changes writer and shares at once::

    acme%2A1 blue|blue=90:green=100

Requests that write go to backend ``blue``; of the others, hashes below 90 go to ``blue`` and those below 100 to
``green``. Entries are read back strictly: what is not exactly as we write it, is no route of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.targets import Targets
from tenant_lifecycle.traffic.tenant_header import decode_tenant

_BACKEND = re.compile(r"[A-Za-z0-9_.-]+")
_VALUE = re.compile(r"([A-Za-z0-9_.-]+)\|([A-Za-z0-9_.-]+=[0-9]+(?::[A-Za-z0-9_.-]+=[0-9]+)*)")


def check_backends(targets: Targets) -> None:
    """Refuse names of backends that a map's value cannot carry.

    Raises:
        UsageError: one has other characters than letters, digits, ``_``, ``-`` and ``.``.
    """
    for environment, backend in targets.by_environment.items():
        if not _BACKEND.fullmatch(backend):
            raise UsageError(f"environment {environment!r}: {backend!r} is no name of a backend of HAProxy")


def value_of(route: Route, targets: Targets) -> str:
    """The route as a value."""
    parts, end = [], 0
    for backend, percent in targets.intervals(route):
        end += percent
        parts.append(f"{backend}={end}")
    return f"{targets.target(route.writer)}|{':'.join(parts)}"


def route_of(tenant: TenantId, value: str | None, targets: Targets) -> Route | None:
    """The route a value stands for; None if there is none, or one that we would not write."""
    match = _VALUE.fullmatch(value or "")
    writer = targets.environment(match[1]) if match else None
    if match is None or writer is None:
        return None
    share: dict[str, int] = {}
    begin = 0
    for part in match[2].split(":"):
        backend, _, end = part.partition("=")
        environment = targets.environment(backend)
        if environment is None:
            return None
        share[environment] = int(end) - begin
        begin = int(end)
    try:
        route = Route(tenant, writer, share)
    except ValueError:
        return None
    return route if value_of(route, targets) == value else None


def parse_lines(lines: Iterable[str]) -> dict[str, str]:
    """Key -> value of a map's file; the first of equal keys counts, as it does for HAProxy."""
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            found.setdefault(key, value.strip())
    return found


def render_lines(entries: dict[str, str]) -> str:
    """The file of a map."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def tenants(entries: Iterable[str]) -> list[TenantId]:
    """Whose entries these keys are."""
    return [tenant for key in entries if (tenant := decode_tenant(key)) is not None]
