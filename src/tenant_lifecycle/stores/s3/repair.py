"""Carrying over the keys that were touched: the target gets what the source has now, or loses what must not be stale."""

from __future__ import annotations

from functools import partial

from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.stores.base import Keys
from tenant_lifecycle.stores.s3.carry import Carrier
from tenant_lifecycle.stores.s3.owned import decode, family_of
from tenant_lifecycle.stores.s3.threads import each


def repair(carrier: Carrier, resolved: ResolvedKeys, keys: Keys) -> int:
    """Make the target's objects equal to the source's, absent included; return how many changed.

    Keys that are not the tenant's (any more) are left alone. Objects of a family that is not moved are deleted
    on the target.

    Raises:
        Fenced: a newer driver was here; nothing was written after it.
    """
    work = [
        partial(_carry, carrier, resolved, key) for key in sorted({k for some in keys.values() for k in some})
    ]
    return sum(each(lambda one: one(), work))


def _carry(carrier: Carrier, resolved: ResolvedKeys, raw: bytes) -> bool:
    key = decode(carrier.sides.source.store, raw)
    name = family_of(resolved, key)
    if name is None:
        return False
    if resolved.families[name].treatment is Treatment.SKIP:
        return carrier.drop(key) > 0
    return carrier.carry(key)[0] > 0
