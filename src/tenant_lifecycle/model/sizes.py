"""How much of a tenant's data there is, set by set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetSize:
    """How much of a tenant's data one set (a table, a key family, a prefix) holds."""

    name: str
    items: int
    bytes: int
    #: False: an estimate (statistics), True: counted.
    exact: bool
