"""Why a base cannot be loaded into an index, found before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.stores.pinecone.backup import fields
from tenant_lifecycle.stores.pinecone.probe import probe
from tenant_lifecycle.stores.pinecone.side import Side
from tenant_lifecycle.stores.pinecone.verdicts import refuse


def check_restore(side: Side, shapes: Mapping[str, Shape], facts: Mapping[str, Any]) -> list[Finding]:
    """The index, its fields against those that were backed up, families without a rule."""
    found = [one for one in probe(side) if one.severity is not Severity.OK]
    try:
        return [*found, *_fields(side, facts), *_sets(side, shapes)]
    except StoreError as exc:
        return found or [unanswered("pinecone.check-failed", exc)]


def _fields(side: Side, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Vectors of another dimension, or compared in another way, are other vectors."""
    then, now = dict(facts.get("index", {})), fields(side)
    for name in sorted(then.keys() | now.keys()) if then else ():
        if then.get(name) != now.get(name):
            yield refuse(
                side.name, "model-mismatch",
                f"field {name}: {now.get(name, 'not there')}; in the base: {then.get(name, 'not there')}",
                "restore into an index with the fields of the base",
            )  # fmt: skip


def _sets(side: Side, shapes: Mapping[str, Shape]) -> Iterator[Finding]:
    if strange := sorted(set(shapes) - set(side.key_map.families)):
        yield refuse(
            side.name, "unmapped", f"no family in ownership.yaml for {', '.join(strange)}, which the base has",
            "add the families, or restore the others only",
        )  # fmt: skip
