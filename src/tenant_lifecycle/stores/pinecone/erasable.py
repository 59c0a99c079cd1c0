"""What to know before a tenant's vectors are erased, and whether the verifier's key sees everything."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.probe import probe
from tenant_lifecycle.stores.pinecone.side import Side, unmapped
from tenant_lifecycle.stores.pinecone.verdicts import fine, refuse, warn


def erasure_findings(side: Side) -> list[Finding]:
    """Refusals and what an approver has to know. Changes nothing but a record of ours that `probe` asks about."""
    found = probe(side)
    if any(one.severity is Severity.REFUSAL for one in found):
        return found
    try:
        return [*found, *_unmapped(side), *_copies(side)]
    except StoreError as exc:
        said = str(exc).removeprefix(f"{side.name}: ")
        return [*found, refuse(side.name, "reachable", said, exc.next_step)]


def _unmapped(side: Side) -> Iterator[Finding]:
    if strangers := list(unmapped(side, Patience())):
        yield refuse(
            side.name, "unmapped", f"no rule in ownership.yaml for {len(strangers)} namespace(s)",
            "add a family, a shared namespace or a global template for them",
        )  # fmt: skip
    else:
        yield fine(side.name, "unmapped", "every namespace has a rule")


def _copies(side: Side) -> Iterator[Finding]:
    for what, count in side.client.copies(Patience()).items():
        if count:
            yield warn(
                side.name, "copies", f"{count} {what} of the project's indexes may hold the tenant's vectors",
                "delete them, or make them anew when the vectors are gone",
            )  # fmt: skip


def verifier_findings(side: Side) -> list[Finding]:
    """Whether indexes and namespaces can be listed; keys of a project see all of it, and no writing is tried."""
    try:
        indexes = side.client.indexes(Patience())
        if side.client.index_name not in indexes:
            return [
                refuse(
                    side.name, "index-missing", "the store's index is not listed", "use a key of its project"
                )
            ]
        spaces = sum(1 for index in indexes for _ in side.at(index).namespaces("", Patience()))
    except StoreError as exc:
        said = str(exc).removeprefix(f"{side.name}: ")
        return [refuse(side.name, "reachable", said, exc.next_step or "check host and api_key of this store")]
    return [fine(side.name, "reachable", f"lists {len(indexes)} indexes with {spaces} namespaces")]
