"""After the vectors: our own notes about the tenant, and the copies that the service keeps of the index."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erasing, Settled
from tenant_lifecycle.stores.pinecone import ours, preview
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import OURS, Side


def settle(side: Side, erasing: Erasing, check: Check) -> Settled:
    """Forget what copies noted about the tenant; tell of backups and collections, which hold whole indexes.

    Raises:
        Fenced: a newer driver was here.
    """
    patience = replace(Patience(), check=check)
    ours.guard(side, Feed(erasing.name, erasing.tenant, erasing.token), patience)
    mark = f":{hashlib.sha256(erasing.tenant.encode()).hexdigest()[:12]}:"
    notes = [id_ for id_ in ours.read(side, "copy:", patience) if mark in id_]
    for first in range(0, len(notes), 1_000):
        check()
        side.client.delete(OURS, notes[first : first + 1_000], patience)
    check()
    previews = preview.discard_all(side, erasing.tenant, patience)
    left = []
    for what, count in side.client.copies(patience).items():
        if count:
            left.append(
                f"{count} {what} were made of the project's indexes and may hold the tenant: delete or replace them"
            )
    return Settled((f"{len(notes)} notes of ours deleted", f"{previews} previews discarded"), tuple(left))
