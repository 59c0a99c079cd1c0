"""Our side of a comparison, opened as the product opens it: two stores by their entry point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.rows import OWNERSHIP
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.stores.registry import open_store


@contextmanager
def store_pair(blue: str, green: str, ownership: OwnershipMap = OWNERSHIP) -> Iterator[StorePair]:
    """The stores at two DSNs, as ``blue/postgres`` and ``green/postgres``; closed afterwards."""
    opened: list[Any] = [
        open_store("postgres", name="postgres", environment=name, settings={"dsn": dsn}, ownership=ownership)
        for name, dsn in (("blue", blue), ("green", green))
    ]
    try:
        yield StorePair("postgres", *opened)
    finally:
        for store in opened:
            store.close()


def proceed() -> None:
    """A `Check` that never stops anything."""
