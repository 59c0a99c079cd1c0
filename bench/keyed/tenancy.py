"""What the bench of the keyed stores does in each of them: our verbs, timed, against the same by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from bench.measure import stopwatch
from bench.pair import proceed
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.operations.journal_follower import BATCH
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.registry import open_store

TENANT, NEIGHBOUR = TenantId("acme"), "globex"


class Tenancy(Protocol):
    """One tenant in one kind of store, beside a neighbour of the same size; blue is filled, green is emptied."""

    kind: str
    #: Items of the tenant.
    items: int
    #: Our stores, source and target, as the product opens them.
    stores: tuple[Any, Any]
    #: What the loop that stands against ours is written with.
    peer: str

    def empty(self) -> None:
        """Delete everything on green."""

    def there(self) -> int:
        """How many items of the tenant green has."""

    def copy(self) -> None:
        """By hand: every item of the tenant from blue to green."""

    def equal(self) -> bool:
        """By hand: whether every item of the tenant is on both sides, with everything that hangs on it."""

    def change(self, count: int, number: int) -> list[bytes]:
        """Change so many of the tenant's items on blue, one in ten of them by deleting it; their keys, as ours
        name them. Every ``number`` makes other values, and brings back what an earlier one deleted."""

    def carry(self, keys: list[bytes]) -> None:
        """By hand: make green have what blue has under these keys."""


def opened(kind: str, template: str, settings: tuple[dict[str, str], dict[str, str]]) -> tuple[Any, Any]:
    """Stores on both sides whose only family has that template."""
    ownership = OwnershipMap(keys={kind: KeyMap({"items": Family(Template.parse(template))})})
    blue, green = (
        open_store(kind, name=kind, environment=name, settings=one, ownership=ownership)
        for name, one in zip(("blue", "green"), settings, strict=True)
    )
    return blue, green


def our_copy(tenancy: Tenancy, number: int) -> float:
    """Seconds of cutting into parts and copying each, by one worker; green was empty."""
    source, target = tenancy.stores
    feed = Feed(f"op_bench_{number}", TENANT, 1)
    with stopwatch() as watch:
        for part in source.split(target, feed):
            source.copy_part(target, feed, part, proceed)
    return watch.seconds


def our_digest(tenancy: Tenancy) -> float:
    """Seconds of comparing all sets, which are equal.

    Raises:
        RuntimeError: something was not looked at, or found to differ.
    """
    source, target = tenancy.stores
    with stopwatch() as watch:
        compared = [source.compare(target, TENANT, name, proceed) for name in source.sets(TENANT)]
    if sum(one.items for one in compared) != tenancy.items or any(one.suspects for one in compared):
        raise RuntimeError(f"{tenancy.items} equal items of {tenancy.kind} compared as {compared}")
    return watch.seconds


def our_carry(tenancy: Tenancy, number: int, keys: list[bytes]) -> float:
    """Seconds of carrying these keys, in the follower's batches."""
    source, target = tenancy.stores
    feed = Feed(f"op_bench_{number}", TENANT, 1)
    with stopwatch() as watch:
        for some in batches(keys, BATCH):
            source.repair(target, feed, {"items": frozenset(some)})
    return watch.seconds


def by_hand(work: Callable[[], object]) -> float:
    """Seconds of it.

    Raises:
        RuntimeError: it said no.
    """
    with stopwatch() as watch:
        answer = work()
    if answer is False:
        raise RuntimeError("equal sides were found to differ")
    return watch.seconds


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """In their order, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
