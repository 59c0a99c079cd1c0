"""Clones: who has one, of whom, until when, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenant_lifecycle.model.names import TenantId


class CloneState(StrEnum):
    """Where a clone is."""

    #: Being masked and looked through; nobody can see it.
    BUILDING = "building"
    #: It passed the gate and is in its environment.
    EXPOSED = "exposed"
    #: Being taken away.
    DELETING = "deleting"
    #: The gate found something, or it was given up; nobody ever saw it.
    DESTROYED = "destroyed"
    #: It was there and is gone.
    DELETED = "deleted"


#: States in which there may be data.
LIVING = frozenset({CloneState.BUILDING, CloneState.EXPOSED, CloneState.DELETING})


@dataclass(frozen=True, slots=True)
class Clone:
    """One clone. Times are seconds since 1970 on the control database's clock."""

    #: The operation that makes it.
    id: str
    source: TenantId
    #: The source as of then, microseconds since 1970.
    at_us: int
    tenant_id: TenantId
    environment: str
    mode: str
    owner: str
    purpose: str
    state: CloneState
    created_at: float
    expires_at: float
    #: What the gate found; None: it was not asked yet.
    report: Mapping[str, Any] | None = None

    def expired(self, now: float) -> bool:
        """Whether it has to go."""
        return self.state is CloneState.EXPOSED and now >= self.expires_at
