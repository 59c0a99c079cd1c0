"""After the points: our own notes about the tenant, and what a server keeps of points that were deleted."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erasing, Settled
from tenant_lifecycle.stores.qdrant import ours, preview
from tenant_lifecycle.stores.qdrant.side import Side


def settle(side: Side, erasing: Erasing, check: Check) -> Settled:
    """Forget what copies noted; tell of snapshots, and of segments that the optimizer may never rewrite.

    Raises:
        Fenced: a newer driver was here.
    """
    ours.guard(side, Feed(erasing.name, erasing.tenant, erasing.token))
    check()
    count = ours.forget_all(side, erasing.tenant)
    previews = preview.discard_all(side, erasing.tenant)
    done = (f"{count} notes of ours deleted", f"{previews} previews discarded")
    return Settled(done, tuple(_left(side)))


def _left(side: Side) -> Iterator[str]:
    if snapshots := side.client.snapshots():
        yield f"{snapshots} snapshots may hold the tenant: delete them, or make them anew"
    if side.shared and not side.client.local:
        yield (
            "points deleted from the shared collection stay in its segments until the optimizer rewrites them, which "
            "few points of one tenant do not cause: lower deleted_threshold and vacuum_min_vector_number for a while"
        )
