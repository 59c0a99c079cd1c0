"""Who has objects here, and how many: counted from listings, which are exact where they were read to the end."""

from __future__ import annotations

from itertools import chain, islice

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.keymap import ResolvedFamily, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.owned import Area, family_stacks
from tenant_lifecycle.stores.s3.unmapped import find_unmapped

#: Objects of one family that are counted unless an exact count is asked for.
COUNTED = 100_000
MOST_TENANTS = 10_000
#: A placeholder's value that no key holds, to find where it stands in a template.
_HOLE = "\x00"


def tenants(area: Area) -> list[TenantId]:
    """Ids of tenants as the keys show them: where a template has literal text before and after the id."""
    found: set[str] = set()
    for family in area.keys.families.values():
        if family.template is not None and family.named_in is None:
            found |= _ids(area.bucket, family.template)
    return [TenantId(one) for one in sorted(found)[:MOST_TENANTS]]


def _ids(bucket: Bucket, template: Template) -> set[str]:
    if template.names != {"tenant"}:
        return set()
    pattern = template.fill({"tenant": _HOLE})
    before, _, after = pattern.prefix.partition(_HOLE)
    if pattern.prefix.count(_HOLE) != 1 or not after:
        return set()
    pages = bucket.pages("list_objects_v2", Prefix=before, Delimiter=after)
    groups = chain.from_iterable(page.get("CommonPrefixes", ()) for page in pages)
    return {str(group["Prefix"])[len(before) : -len(after)] for group in islice(groups, MOST_TENANTS)} - {""}


def holds(area: Area, tenant: TenantId) -> bool:
    """Whether any object of the tenant is here."""
    resolved = area.resolve(tenant)
    return any(
        next(family_stacks(area.bucket, resolved, family, history=False), None) is not None
        for family in resolved.families.values()
    )


def inventory(area: Area, tenant: TenantId, *, exact: bool) -> list[SetSize]:
    """Current objects and their bytes, family by family; older versions are not counted.

    A family of more than `COUNTED` objects is said to have that many, and not to be exact, unless ``exact``.

    Raises:
        UnmappedData: an object has no rule.
    """
    resolved = area.resolve(tenant)
    unmapped = find_unmapped(area.bucket, area.keys, resolved)
    if unmapped.found:
        raise UnmappedData(
            f"{area.bucket.store}: no rule in ownership.yaml for {unmapped.say()}",
            next_step="add families, or put the templates under global",
        )
    return [_size(area.bucket, resolved, family, exact) for family in resolved.families.values()]


def _size(bucket: Bucket, resolved: ResolvedKeys, family: ResolvedFamily, exact: bool) -> SetSize:
    items = size = 0
    for found in family_stacks(bucket, resolved, family, history=False):
        if not exact and items == COUNTED:
            return SetSize(family.name, items, size, exact=False)
        items += 1
        size += found.versions[-1].size
    return SetSize(family.name, items, size, exact=True)
