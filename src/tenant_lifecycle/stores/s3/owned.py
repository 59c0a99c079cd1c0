"""Whose an object is: the tenant's families, put together with the ids that its rows hold now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedFamily, ResolvedKeys, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.listing import stack, stacks
from tenant_lifecycle.stores.s3.stack import Stack

#: Where our own small objects lie; never a tenant's, whatever a template says.
OURS = ".tenant-lifecycle/"


@dataclass(frozen=True)
class Area:
    """One store's bucket with the rules that say whose its objects are."""

    bucket: Bucket
    keys: KeyMap
    ids: IdSource

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        """The tenant's families, with ids read now."""
        return self.keys.resolve(tenant, self.ids(tenant))


def own_place(tenant: str) -> str:
    """The folder of our own objects about a tenant; says nothing about who it is."""
    digest = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{OURS}{digest[:32]}/"


def family_of(resolved: ResolvedKeys, key: str) -> str | None:
    """The family a key belongs to; never one of our own objects."""
    return None if key.startswith(OURS) else resolved.family_of(key)


def moved(resolved: ResolvedKeys) -> list[ResolvedFamily]:
    """Families that are copied."""
    return [family for family in resolved.families.values() if family.treatment is not Treatment.SKIP]


def prefixes(family: ResolvedFamily) -> list[str]:
    """The texts that the family's keys begin with, none within another, in order."""
    kept: list[str] = []
    for prefix in sorted({pattern.prefix for pattern in family.patterns}):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def family_stacks(
    bucket: Bucket, resolved: ResolvedKeys, family: ResolvedFamily, *, history: bool
) -> Iterator[Stack]:
    """Everything of one family here, area by area, in the order of keys within an area."""
    for prefix in prefixes(family):
        for found in stacks(bucket, prefix, history=history):
            if family_of(resolved, found.key) == family.name:
                yield found
    yield from named_stacks(bucket, resolved, family, named(family), history=history)


def named(family: ResolvedFamily) -> list[str]:
    """Whole keys that no listing of the family's prefixes comes upon."""
    areas = tuple(prefixes(family))
    return sorted(key for key in family.exact if not (areas and key.startswith(areas)))


def named_stacks(
    bucket: Bucket, resolved: ResolvedKeys, family: ResolvedFamily, keys: Iterable[str], *, history: bool
) -> Iterator[Stack]:
    """What is under whole keys, one request each; empty stacks are left out."""
    for key in keys:
        if family_of(resolved, key) == family.name:
            found = stack(bucket, key, history=history)
            if found.versions or found.markers:
                yield found


def keeps_versions(bucket: Bucket) -> str:
    """``Enabled``, ``Suspended``, or "" where versions were never kept."""
    return str(bucket.call("get_bucket_versioning").get("Status", ""))


def carries_history(source: Bucket, target: Bucket) -> bool:
    """Whether the target can be given the versions that the source keeps."""
    return keeps_versions(source) != "" and keeps_versions(target) == "Enabled"


def decode(store: str, key: bytes) -> str:
    """A key as text.

    Raises:
        StoreRejected: no object can have it.
    """
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise StoreRejected(f"{store}: a key is not UTF-8; no object can have it", store=store) from exc
