"""A restore's plan and its differences, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from tenant_lifecycle.cli.documents import Document, finding_document
from tenant_lifecycle.cli.output import Line, count_text, styled, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.model.backup.when import time_text
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.operations.restore.planning import RestorePlan
from tenant_lifecycle.stores.backing import SetDiff


def plan_lines(plan: RestorePlan) -> Iterator[Line]:
    """What would be loaded, and what forbids it."""
    yield styled(f"RESTORE  {plan.tenant} in {plan.environment}  to {time_text(plan.chosen.at_us)}", "bold")
    yield f"hash  {plan.hash}"
    yield f"base  {plan.base}" + ("" if plan.chosen.base else ", and the change log since")
    yield ""
    rows = [
        (part.store, name, count_text(items)) for part in plan.stores for name, items in part.sets.items()
    ]
    yield from table(("STORE", "SET", "ITEMS"), rows, right=(2,))
    yield ""
    yield from finding_lines(one for one in plan.findings if one.severity is Severity.WARNING)
    yield f"REFUSALS  {len(plan.refusals) or 'none'}"
    yield from finding_lines(plan.refusals)


def plan_document(plan: RestorePlan) -> Document:
    return {
        "tenant": plan.tenant,
        "environment": plan.environment,
        "at": time_text(plan.chosen.at_us),
        "base": plan.base,
        "base_alone": plan.chosen.base is not None,
        "hash": plan.hash,
        "items": plan.items,
        "stores": {part.store: dict(part.sets) for part in plan.stores},
        "only": {store: list(sets) for store, sets in plan.only.items()},
        "findings": [finding_document(finding) for finding in plan.findings],
        "refused": bool(plan.refusals),
    }


def diff_lines(diffs: Mapping[str, list[SetDiff]]) -> Iterator[Line]:
    """Set by set, then some keys."""
    rows = [
        (
            store, one.set, count_text(one.only_restored), count_text(one.only_live), count_text(one.changed),
            count_text(one.equal),
        )
        for store, sets in diffs.items()
        for one in sets
    ]  # fmt: skip
    yield from table(
        ("STORE", "SET", "COMES BACK", "GOES AWAY", "CHANGES", "EQUAL"), rows, right=(2, 3, 4, 5)
    )
    for store, sets in diffs.items():
        for one in sets:
            if one.examples:
                yield f"{store}/{one.set}: {', '.join(one.examples)}"


def diff_document(diffs: Mapping[str, list[SetDiff]]) -> Document:
    return {store: [asdict(one) for one in sets] for store, sets in diffs.items()}
