"""A base read whole, a preview of it, and in whose name it is promoted: for the tests of stores without columns."""

from __future__ import annotations

from typing import Any

from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Preview, Writing

FINGERPRINTS = b"f" * 32


class Base(dict[str, list[Item]]):
    """Items by set, as a base reading gave them, with its shapes and facts."""

    shapes: dict[str, Shape]
    facts: dict[str, Any]
    at_us: int

    def fingerprints(self) -> dict[str, Fingerprint]:
        return {name: fingerprint(FINGERPRINTS, items) for name, items in self.items()}


def base_of(store: Any, tenant: str) -> Base:
    with store.read_base(TenantId(tenant), go_on) as reading:
        found = Base({name: list(reading.items(name)) for name in reading.shapes})
        found.shapes, found.facts, found.at_us = dict(reading.shapes), dict(reading.facts), reading.at_us
    return found


def preview_of(store: Any, base: Base, tenant: str, name: str = "p_1", **facts: object) -> Preview:
    preview: Preview = store.open_preview(TenantId(tenant), name, base.shapes, {**base.facts, **facts})
    for set_name, items in base.items():
        preview.load(set_name, items, go_on)
    return preview


def writing(tenant: str, token: int = 5) -> Writing:
    return Writing("restore_1", TenantId(tenant), token)


def diffs(preview: Preview, examples: int = 0) -> dict[str, tuple[int, int, int, int]]:
    """By set: only restored, only live, changed, equal."""
    return {
        one.set: (one.only_restored, one.only_live, one.changed, one.equal)
        for one in preview.diff(examples, go_on)
    }


def go_on() -> None:
    """A check that never objects."""
