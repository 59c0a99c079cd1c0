"""What the erasing tests of every store share: a way to recognise texts, and an erasure from beginning to end."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.erasing import Batch, Erased, Erasing, Found, Hit, Looked, Match, Settled, Whose

CONTROL = "control-marker-7f3a"


def go_on() -> None:
    """A check that never objects."""


def erasing(tenant: str, token: int = 1) -> Erasing:
    return Erasing("erase_1", TenantId(tenant), token)


def finder(*texts: str) -> Found:
    """Finds the texts as they are, as JSON writes them, and inside base64 inside JSON; and the control."""

    def spellings(text: str) -> list[bytes]:
        return [text.encode("utf-8", "surrogateescape"), json.dumps(text)[1:-1].encode()]

    def found(data: bytes) -> Sequence[Match]:
        matches = []
        for layer, encoding in ((data, "plain"), (_bodies(data), "base64")):
            if any(one in layer for text in texts for one in spellings(text)):
                matches.append(Match(Whose.TENANT, "id", encoding))
        if CONTROL.encode() in data:
            matches.append(Match(Whose.CONTROL, "control", "plain"))
        return matches

    return found


def _bodies(data: bytes) -> bytes:
    try:
        return base64.b64decode(json.loads(data)["body"])
    except (ValueError, TypeError, KeyError):
        return b""


def frozen(store: Any, tenant: str) -> list[Batch]:
    """The whole manifest, as it would be kept."""
    return list(store.doomed(TenantId(tenant), go_on))


def erase_all(store: Any, tenant: str, token: int = 1) -> tuple[list[Batch], list[Erased], Settled]:
    """Freeze, erase every batch, settle."""
    batches = frozen(store, tenant)
    done = [store.erase(erasing(tenant, token), batch, go_on) for batch in batches]
    settled = store.settle(erasing(tenant, token), sorted({batch.set for batch in batches}), go_on)
    return batches, done, settled


def searched(store: Any, found: Found, only: str = "") -> dict[str, Looked]:
    """Every place, or one, searched."""
    places = [place for place in store.places() if only in ("", place.name)]
    return {place.name: store.search(place, found, go_on) for place in places}


def hits(store: Any, found: Found, only: str = "") -> list[Hit]:
    """Everything found anywhere, or in one place; whatever could not be read fails the test."""
    looked = searched(store, found, only)
    assert {one.unread for one in looked.values()} == {""}
    return [hit for one in looked.values() for hit in one.hits]


def left_of(store: Any, tenant: str, batches: Sequence[Batch]) -> set[bytes]:
    """Items of the manifest that are still there."""
    return {key for batch in batches for key in store.remaining(TenantId(tenant), batch, go_on)}
