"""How the changes of each store are learned during a move, and what that leaves to people: for the plan."""

from __future__ import annotations

from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.operations.migrate.feeds import keyed_stores
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.stores.base import Hints


def look_at_changes(pair: Pair) -> list[Finding]:
    """Store by store, what nobody but the application can know; a refusal where a store cannot tell by itself."""
    return [finding for one in keyed_stores(pair) for finding in _look(one)]


def _look(one: StorePair) -> list[Finding]:
    if one.changes is Changes.CLIENT:
        return [
            Finding(
                "plan.client", Severity.WARNING,
                "changes of the tenant here are followed, and held at the flip, only if every application that writes "
                "them uses tenant_lifecycle.client; a write past it during the move may be lost",
                "make sure of it (docs/client.md), or declare changes: hints or reconcile for the store", one.source.name,
            )
        ]  # fmt: skip
    unheard = [
        store for store in (one.source, one.target)
        if one.changes is Changes.HINTS and not isinstance(store, Hints)
    ]  # fmt: skip
    if unheard:
        return [
            Finding(
                "plan.no-hints", Severity.REFUSAL, f"a store of kind {unheard[0].kind} tells nobody what is touched",
                "changes: reconcile in lifecycle.yaml", unheard[0].name,
            )
        ]  # fmt: skip
    told = "are told by the store" if one.changes is Changes.HINTS else "are found by comparing everything"
    return [
        Finding(
            "plan.not-held", Severity.WARNING,
            f"changes of the tenant here {told}, and no fence holds them: what is written past the client in the last "
            "moment before the flip, and on the old side after it, is not carried over",
            "let those writers rest at the flip, or move in a maintenance window in which they do", one.source.name,
        )
    ]  # fmt: skip
