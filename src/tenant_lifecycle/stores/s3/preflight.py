"""Every reason not to move a tenant's objects to another bucket."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError, StoreRejected
from tenant_lifecycle.model.findings import Finding, unanswered
from tenant_lifecycle.model.keymap import KeyMap, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent
from tenant_lifecycle.stores.s3.owned import OURS, Area, family_stacks, keeps_versions, moved
from tenant_lifecycle.stores.s3.probe import fine, object_lock, refuse, rights, warn
from tenant_lifecycle.stores.s3.provision import exists
from tenant_lifecycle.stores.s3.stack import HISTORY_LIMIT, Stack
from tenant_lifecycle.stores.s3.unmapped import MOST_REQUESTS, find_unmapped

#: Objects of a family that are looked at for what cannot be read; and of these, how many are opened.
LOOKED_AT, OPENED = 100_000, 20
#: Must be restored before they can be read.
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def preflight(source: Area, target: Bucket, tenant: TenantId) -> list[Finding]:
    """Findings about both sides, refusals among them. Changes nothing of the tenant's."""
    try:
        return _preflight(source, target, tenant)
    except StoreError as exc:
        return [unanswered("s3.reachable", exc)]


def _preflight(source: Area, target: Bucket, tenant: TenantId) -> list[Finding]:
    here = source.bucket
    if (here.settings.endpoint, here.name) == (target.settings.endpoint, target.name):
        return [refuse(target, "s3.same-bucket", "source and target are one bucket", "give each its own")]
    if not exists(here):
        return [
            refuse(here, "s3.bucket", f"there is no bucket {here.name}", "correct its name in lifecycle.yaml")
        ]
    resolved = source.resolve(tenant)
    return [
        *_reserved(here, resolved),
        *_unmapped(here, source.keys, resolved),
        *_unreadable(here, resolved, history=keeps_versions(here) != ""),
        *_target(here, target, resolved),
    ]


def _target(here: Bucket, target: Bucket, resolved: ResolvedKeys) -> Iterator[Finding]:
    if not exists(target):
        yield warn(
            target, "s3.bucket", f"there is no bucket {target.name}", "nothing to do: the move creates it"
        )
        return
    yield from _occupied(target, resolved)
    yield from _versioning(here, target)
    yield from object_lock(target)
    yield from rights(target)


def _reserved(bucket: Bucket, resolved: ResolvedKeys) -> Iterator[Finding]:
    if any(pattern.prefix.startswith(OURS) for pattern in resolved.patterns()):
        yield refuse(
            bucket, "s3.reserved", f"the tenant's keys would begin with {OURS}, where our own objects lie",
            "keep the tenant's objects elsewhere",
        )  # fmt: skip


def _unmapped(bucket: Bucket, keys: KeyMap, resolved: ResolvedKeys) -> Iterator[Finding]:
    unmapped = find_unmapped(bucket, keys, resolved)
    if unmapped.found:
        yield refuse(
            bucket, "s3.unmapped", f"no rule in ownership.yaml for {unmapped.say()}",
            "add families to ownership.yaml, or put the templates under global",
        )  # fmt: skip
    elif not unmapped.complete:
        yield refuse(
            bucket, "s3.unmapped",
            f"after {MOST_REQUESTS} requests it is still open whether every object has a rule",
            "use templates that end in a star after a whole folder",
        )  # fmt: skip
    else:
        yield fine(bucket, "s3.unmapped", "every object has a rule")


def _occupied(target: Bucket, resolved: ResolvedKeys) -> Iterator[Finding]:
    history = keeps_versions(target) != ""
    for family in resolved.families.values():
        found = next(family_stacks(target, resolved, family, history=history), None)
        if found is not None:
            what = "objects" if found.live else "older versions or delete markers"
            yield refuse(
                target, "s3.target-occupied", f"there are {what} of the tenant already, in {family.name}",
                "remove them, or abort the move that brought them",
            )  # fmt: skip


def _versioning(here: Bucket, target: Bucket) -> Iterator[Finding]:
    mine, theirs = keeps_versions(here), keeps_versions(target)
    if mine and theirs != "Enabled":
        yield warn(
            target, "s3.history",
            "the source keeps older versions and the target does not: only current objects are moved and compared",
            "switch versioning on at the target, if history matters",
        )  # fmt: skip
    elif mine:
        yield fine(target, "s3.history", "older versions are moved, in order; they get new version ids")
    else:
        yield fine(target, "s3.history", "the source keeps no older versions")


def _unreadable(bucket: Bucket, resolved: ResolvedKeys, *, history: bool) -> Iterator[Finding]:
    """Archived objects, objects with more versions than are moved, and objects that cannot be opened."""
    archived = cut = unreadable = 0
    reason = ""
    for family in moved(resolved):
        found = family_stacks(bucket, resolved, family, history=history)
        for number, one in zip(range(LOOKED_AT), found, strict=False):
            archived += any(version.storage_class in _ARCHIVED for version in one.versions)
            cut += one.cut
            if number < OPENED and one.current is not None:
                error = _open(bucket, one)
                unreadable += error is not None
                reason = reason or (error or "")
    if archived:
        yield refuse(
            bucket, "s3.archived", f"{archived} objects are archived and cannot be read",
            "restore them, or delete what is not needed",
        )  # fmt: skip
    if unreadable:
        yield refuse(
            bucket, "s3.unreadable", f"{unreadable} of the objects tried cannot be read: {reason}",
            "allow kms:Decrypt on their key; objects encrypted with a customer's key (SSE-C) cannot be moved",
        )  # fmt: skip
    if cut:
        yield warn(
            bucket,
            "s3.history-limit",
            f"{cut} objects have more than {HISTORY_LIMIT} versions; older ones stay",
        )


def _open(bucket: Bucket, found: Stack) -> str | None:
    """Why the first byte cannot be read; None if it can.

    Raises:
        StoreError: the service does not serve anybody at the moment.
    """
    version = {"VersionId": found.versions[-1].id} if found.versions[-1].id else {}
    piece = {"Range": "bytes=0-0"} if found.versions[-1].size else {}
    try:
        bucket.call("get_object", Key=found.key, **version, **piece)["Body"].close()
    except Absent:
        return None
    except StoreRejected as exc:
        return str(exc).removeprefix(f"{bucket.store}: ")
    return None
