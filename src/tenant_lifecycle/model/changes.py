"""How changes of a store without a change log are learned while a tenant moves, as ``lifecycle.yaml`` declares it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Changes(StrEnum):
    """Who tells which keys were touched."""

    #: The application, through ``tenant_lifecycle.client``, before it writes; held by the fence.
    CLIENT = "client"
    #: The store's own notifications, without promise; every gap is a new full comparison.
    HINTS = "hints"
    #: Nobody: both sides are compared and made equal, again and again.
    RECONCILE = "reconcile"


#: For plans: how a store is followed.
FOLLOWED: Mapping[Changes, str] = {
    Changes.CLIENT: "follow the journal of touched keys",
    Changes.HINTS: "follow notifications, compare everything after each gap",
    Changes.RECONCILE: "reconcile again and again",
}
