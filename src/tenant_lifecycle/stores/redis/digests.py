"""Comparing whole families, and a handful of keys. Reads only.

A family is walked twice: the source's keys are compared with the same keys of the target, then the target's
keys are looked for at the source. So no list of all keys is ever in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check, Compared, Difference, Keys
from tenant_lifecycle.stores.redis import comparison
from tenant_lifecycle.stores.redis.comparison import Named
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.listing import listed
from tenant_lifecycle.stores.redis.server import Server


def compare(source: Server, target: Server, tenant: TenantId, set_name: str, check: Check) -> Compared:
    """Digest the family on both sides and name the keys that differ. Each page of keys counts as a leaf.

    Raises:
        StoreError: the ids that say whose a key is could not be read.
    """
    resolved = source.whose.resolve(tenant)
    items = leaves = 0
    suspects: set[bytes] = set()
    with source.session() as walker, source.session() as here, target.session() as there:
        for page in listed(walker, resolved, set_name):
            check()
            leaves += 1
            for one, difference in _compared((here, there), [(set_name, key) for key in page]):
                items += one.here.there
                if difference is not None:
                    suspects.add(one.key)
    with target.session() as walker, source.session() as here, target.session() as there:
        for page in listed(walker, resolved, set_name):
            check()
            leaves += 1
            # What is on both sides was compared above.
            if here.call("EXISTS", *page) < len(page):
                found = _compared((here, there), [(set_name, key) for key in page])
                suspects.update(one.key for one, difference in found if difference is not None)
    return Compared(items, leaves, {set_name: frozenset(suspects)} if suspects else {})


def compare_keys(source: Server, target: Server, keys: Keys) -> list[Difference]:
    """The differences among these keys; one that is absent on both sides is equal.

    Keys of families that are not moved have none: what they have to be is no promise.
    """
    named = [
        (name, key)
        for name in sorted(keys)
        if source.whose.treatment(name) is Treatment.MOVE
        for key in sorted(keys[name])
    ]
    if not named:
        return []
    with source.session() as here, target.session() as there:
        return [found for _, found in _compared((here, there), named) if found is not None]


def _compared(
    on: tuple[Session, Session], named: list[Named]
) -> Iterator[tuple[comparison.Both, Difference | None]]:
    for page in comparison.compare(on, named):
        yield from page
