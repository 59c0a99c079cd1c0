"""What to know before a tenant's points are erased, and whether the verifier sees every collection."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, Severity, refusals
from tenant_lifecycle.stores.qdrant.preflight import probe, unmapped
from tenant_lifecycle.stores.qdrant.side import Side


def erasure_findings(side: Side) -> list[Finding]:
    """Refusals and what an approver has to know; changes nothing."""
    found = probe(side)
    if refusals(found):
        return found
    try:
        return [*found, *_findings(side)]
    except StoreError as exc:
        said = str(exc).removeprefix(f"{side.name}: ")
        return [*found, Finding("qdrant.reachable", Severity.REFUSAL, said, exc.next_step, side.name)]


def _findings(side: Side) -> Iterator[Finding]:
    if strangers := unmapped(side):
        message = f"no rule in ownership.yaml for {len(strangers)} collection(s)"
        step = "add a family or a global template"
        yield Finding("qdrant.unmapped", Severity.REFUSAL, message, step, side.name)
    if snapshots := side.client.snapshots():
        message = f"{snapshots} snapshots may hold the tenant's points"
        step = "delete them, or make them anew when the points are gone"
        yield Finding("qdrant.snapshots", Severity.WARNING, message, step, side.name)


def verifier_findings(side: Side) -> list[Finding]:
    """Whether collections can be listed and read; no writing is tried. A key for some collections is not noticed."""
    found = probe(side)
    if refusals(found):
        return found
    try:
        for collection in side.client.collections():
            next(side.client.pages(collection, None, whole=False), None)
    except StoreError as exc:
        said = str(exc).removeprefix(f"{side.name}: ")
        found.append(Finding("qdrant.verifier-rights", Severity.REFUSAL, said, exc.next_step, side.name))
    return found
