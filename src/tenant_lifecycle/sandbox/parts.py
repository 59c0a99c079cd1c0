"""What a sandbox can consist of, and what needs what."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from tenant_lifecycle.errors import UsageError


class Part(StrEnum):
    """One kind of server."""

    #: One for each environment, always there.
    POSTGRES = "postgres"
    #: One for each environment.
    REDIS = "redis"
    #: One emulator, with an index for each environment.
    VECTORS = "vectors"
    #: One emulator, with a bucket for each environment.
    OBJECTS = "objects"
    #: In the emulator of the objects; both environments write to it, and it stays where it is.
    LOGS = "logs"
    #: A DuckDB file, likewise.
    ANALYTICS = "analytics"
    #: The sample application: one for each environment.
    APP = "app"
    #: One Envoy in front of the applications.
    ROUTER = "router"


POSTGRES_ONLY = frozenset({Part.POSTGRES})
EVERYTHING = frozenset(Part)
#: What takes part in a move of the whole tenant.
MOVED_PARTS = EVERYTHING - {Part.LOGS, Part.ANALYTICS}
#: Stores that stand beside PostgreSQL.
KEYED = frozenset({Part.REDIS, Part.VECTORS, Part.OBJECTS})
_NEEDS = {
    Part.LOGS: {Part.OBJECTS},
    Part.APP: {Part.POSTGRES, *KEYED},
    Part.ROUTER: {Part.APP},
}


def chosen(parts: Iterable[Part]) -> frozenset[Part]:
    """The parts, PostgreSQL among them.

    Raises:
        UsageError: one of them needs another that is left out.
    """
    found = frozenset(parts) | POSTGRES_ONLY
    for part, needed in _NEEDS.items():
        missing = sorted(needed - found)
        if part in found and missing:
            raise UsageError(f"{part} needs {', '.join(missing)} as well", next_step="name those too")
    return found
