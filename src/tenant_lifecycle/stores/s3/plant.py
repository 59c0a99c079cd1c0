"""Planting a marker as a tenant's own data: one small object in the first family whose names are open."""

from __future__ import annotations

from tenant_lifecycle.stores.erasing import CANARY_NAME, Planted
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.owned import Area
from tenant_lifecycle.stores.s3.token import Guard


def plant(area: Area, guard: Guard, marker: str) -> list[Planted]:
    """Write ``{beginning of the family}tenant-lifecycle-canary``, unless it is there; nothing if no family is open.

    Raises:
        Fenced: a newer driver was here.
    """
    families = area.resolve(guard.feed.tenant).families.values()
    pattern = next((pattern for family in families for pattern in family.patterns), None)
    if pattern is None:
        return []
    key, content = pattern.prefix + CANARY_NAME + pattern.suffix, marker.encode()
    guard.check()
    try:
        there = area.bucket.call("get_object", Key=key)["Body"].read()
    except Absent:
        there = None
    if there != content:
        area.bucket.call(
            "put_object", Key=key, Body=content, Metadata={"canary": marker} if marker.isascii() else {}
        )
    return [Planted(area.bucket.name, 1)]
