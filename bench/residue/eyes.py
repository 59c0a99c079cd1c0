"""The tenant of the traps, an erasure of it by any store, and what that store says about what is left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tenant_lifecycle.model.erasure.identifiers import found, identifiers_of
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.erasing import Erasing, Settled

TENANT, NEIGHBOUR = TenantId("acme"), TenantId("acme2")
#: Stands in everything of the tenant that is counted.
MARKER = "residue-marker-93b1"
THEIRS = "neighbours-text-1a7e"
FOUND = found(identifiers_of(TENANT, [MARKER], neighbours=[NEIGHBOUR]))
ERASING = Erasing("residue", TENANT, 1)


def proceed() -> None:
    """A `Check` that never stops anything."""


def erase(store: Any) -> list[str]:
    """Freeze, erase every batch, settle; what the store says is left or refused, and until when."""
    batches = list(store.doomed(TENANT, proceed))
    done = [store.erase(ERASING, batch, proceed) for batch in batches]
    settled = store.settle(ERASING, sorted({batch.set for batch in batches}), proceed)
    refused = [f"refused by the system: {one.code}" for each in done for one in each.refused]
    return [*refused, *said(settled)]


def said(settled: Settled) -> list[str]:
    """What a settling left, and what stays by policy."""
    return [*settled.left, *settled.traces]


def warned(store: Any) -> list[str]:
    """What the plan says before anything is deleted: refusals and warnings."""
    words = {Severity.REFUSAL: "refuses to begin", Severity.WARNING: "warns"}
    return [
        f"{words[one.severity]} ({one.code}): {one.message}"
        for one in store.erasure_findings(TENANT)
        if one.severity in words
    ]


def searched(store: Any, *only: str) -> list[str]:
    """Where the search finds the tenant, and what it could not read; of places that have one of the words, if any."""
    places = [place for place in store.places() if not only or any(word in place.name for word in only)]
    looks = [(place.name, store.search(place, FOUND, proceed)) for place in places]
    hits = [f"the search finds {one.hit_count} in {name}" for name, one in looks if one.hit_count]
    return hits + [f"the search could not read {name}: {one.unread}" for name, one in looks if one.unread]


def about(words: Iterable[str], *terms: str) -> str:
    """The first of the lines that holds one of the terms; "" if nothing was said about it."""
    return next((one for one in words if any(term in one for term in terms)), "")


def bytes_in(folder: Path, text: str = MARKER) -> int:
    """How often the text stands in the files of a folder, or in one file, as it is."""
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return sum(_read(path).count(text.encode()) for path in files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # removed by its server since it was listed
        return b""
