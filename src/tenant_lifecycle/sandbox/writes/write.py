"""One transaction of the application: its statements, and what must be true once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from tenant_lifecycle.sandbox.ledger import Do, Effect


def nothing() -> None:
    """What to do when there is nothing to do."""


@dataclass
class Write:
    """Built up by the functions of this package, then sent, as often as it takes."""

    kind: str
    #: Name of a statement in ``statements.sql``, and its parameters.
    statements: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    #: What the writer knows when it is acknowledged.
    done: Callable[[], object] = nothing
    #: Drops the rows whose state is not known any more, when the answer was lost.
    forget: Callable[[], object] = nothing
    #: Row changes, for bulk writes.
    rows: int = 0

    def run(self, statement: str, **values: Any) -> None:
        """Add a statement."""
        self.statements.append((statement, values))

    def put(self, table: str, key: dict[str, str], **values: str | None) -> None:
        """There will be exactly one row, with these values."""
        self.effects.append(Effect(Do.PUT, table, key, values))

    def gone(self, table: str, key: dict[str, str]) -> None:
        """There will be no row."""
        self.effects.append(Effect(Do.GONE, table, key))

    def add(self, number: str, key: dict[str, str], count: int) -> None:
        """A number will have grown by ``count``."""
        self.effects.append(Effect(Do.ADD, number, key, count=count))


@cache
def statements() -> Mapping[str, bytes]:
    """SQL by name."""
    text = files(__package__).joinpath("statements.sql").read_text()
    found: dict[str, bytes] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = body.strip().rstrip(";").encode()
    return found
