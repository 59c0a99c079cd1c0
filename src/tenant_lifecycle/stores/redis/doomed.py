"""Everything of a tenant in one Redis database, in the order in which it goes: members of shared containers, then keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.redis import items
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.containers import containers, members
from tenant_lifecycle.stores.redis.scan import tenants_keys
from tenant_lifecycle.stores.redis.server import Server

BATCH = 500


def doomed(server: Server, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Batches of at most `BATCH` items; every item once, although a server that resizes its table shows some twice.

    Raises:
        StoreError: the server or the source of ids did not answer.
    """
    resolved = server.whose.resolve(tenant)
    with server.session() as session:
        for rule in server.whose.shared(tenant):
            for found in _cut(_members(session, rule, check)):
                yield Batch(rule.name, Method.DELETE, tuple(found))
        for name in server.whose.sets(*Treatment):
            pages = tenants_keys(session, resolved, [name])
            for found in _cut(key for page in pages for _, key in page):
                check()
                yield Batch(name, Method.DELETE, tuple(map(items.whole, found)), _bytes(session, found))


def _members(session: Session, rule: ResolvedShared, check: Check) -> Iterator[bytes]:
    for key, kind in containers(session, rule):
        for page in members(session, key, kind, rule):
            check()
            yield from (items.member(key, name) for name, seen in page if rule.owns(seen))


def _cut(found: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lists of `BATCH`, without repetitions."""
    seen: set[bytes] = set()
    batch: list[bytes] = []
    for one in found:
        if one in seen:
            continue
        seen.add(one)
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _bytes(session: Session, keys: list[bytes]) -> int:
    return sum(size or 0 for size in session.calls([("MEMORY", "USAGE", key) for key in keys]))
