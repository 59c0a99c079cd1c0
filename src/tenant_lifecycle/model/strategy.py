"""Strategies: the four ways to move a tenant, chosen by policy per tier, or for one migration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Strategy(StrEnum):
    """How tenants are moved."""

    #: Writes pause for milliseconds; requests move step by step where there is a router.
    ZERO_DOWNTIME = "zero_downtime"
    #: Writes are held for a window that was announced; the copy has no changes to catch up with.
    MAINTENANCE_WINDOW = "maintenance_window"
    #: Only the code changes: both environments use the same databases, and only requests move.
    ROLLING = "rolling"
    #: By tier: each tier says which of the others it uses.
    HYBRID = "hybrid"


#: What each one does, for the plan; `HYBRID` is always resolved to another before anything is planned.
EXPLAINED: Mapping[Strategy, str] = {
    Strategy.ZERO_DOWNTIME: "the tenant works all the time; writes pause for milliseconds at the flip",
    Strategy.MAINTENANCE_WINDOW: "writes are held for an announced window while everything is copied",
    Strategy.ROLLING: "only requests move, step by step; both environments use the same databases",
    Strategy.HYBRID: "each tier has its own strategy",
}
