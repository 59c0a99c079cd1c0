"""A tenant as the control database knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; times are seconds since 1970."""

    id: str
    display_name: str
    #: Service tier, "" if none was given.
    tier: str
    #: The environment whose databases accept the tenant's writes, "" if unknown.
    environment: str
    #: ``active`` unless an operation says otherwise.
    state: str
    created_at: float
    updated_at: float
