"""Deleting what a manifest names, if it still is the tenant's; every request is refused to an older driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.erasing import Erased, Erasing, Refused
from tenant_lifecycle.stores.redis import items, ours
from tenant_lifecycle.stores.redis.connection import Session, Word
from tenant_lifecycle.stores.redis.containers import entry, seen_by
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import text_of

#: Why an item is left alone: the rules give it to somebody else now, or to nobody.
NOT_THE_TENANTS = "NotTheTenants"
_REMOVE: Mapping[bytes, tuple[str, *tuple[int, ...]]] = {
    b"hash": ("HDEL",), b"set": ("SREM",), b"zset": ("ZREM",), b"stream": ("XDEL",), b"list": ("LREM", 0),
}  # fmt: skip


def erase(server: Server, erasing: Erasing, batch: Batch, check: Check) -> Erased:
    """Delete the batch's items. Memory is given back in the background (UNLINK).

    An entry that is deleted from a stream stays in the stream's memory and on disk until `settle` rebuilds it.

    Raises:
        Fenced: a newer driver was here.
        StoreError: the server refused or did not answer; parts of the batch may be gone.
    """
    feed = Feed(erasing.name, erasing.tenant, erasing.token)
    keys, members = items.grouped(batch.keys)
    with server.session() as session:
        done = [_whole_keys(server, session, feed, keys, check)] if keys else []
        rules = {rule.name: rule for rule in server.whose.shared(erasing.tenant)} if members else {}
        for key, names in members.items():
            done.append(_members(session, feed, rules.get(batch.set), key, names, check))
    return Erased(
        sum(one.deleted for one in done),
        sum(one.gone for one in done),
        tuple(refused for one in done for refused in one.refused),
    )


def _whole_keys(server: Server, session: Session, feed: Feed, keys: Sequence[bytes], check: Check) -> Erased:
    resolved = server.whose.resolve(feed.tenant)
    mine = [key for key in keys if resolved.family_of(text_of(key)) is not None]
    strange = [key for key in keys if resolved.family_of(text_of(key)) is None]
    check()
    gone = ours.write(session, feed, [Command(("UNLINK", key), (key,)) for key in mine])
    left = session.calls([("EXISTS", key) for key in strange])
    refused = [items.whole(key) for key, there in zip(strange, left, strict=True) if there]
    deleted = sum(gone)
    return Erased(deleted, len(keys) - deleted - len(refused), _refused(refused))


def _members(
    session: Session,
    feed: Feed,
    rule: ResolvedShared | None,
    key: bytes,
    names: Sequence[bytes],
    check: Check,
) -> Erased:
    kind = session.call("TYPE", key)
    if kind not in _REMOVE:
        return Erased(0, len(names))
    there = _still(session, rule, key, kind, names)
    mine = [name for name in names if there.get(name)]
    command, *options = _REMOVE[kind]
    check()
    gone = ours.write(session, feed, [Command(_words(command, key, options, name), (key,)) for name in mine])
    refused = [items.member(key, name) for name in names if there.get(name) is False]
    deleted = sum(1 for count in gone if count)
    return Erased(deleted, len(names) - deleted - len(refused), _refused(refused))


def _words(command: str, key: bytes, options: Sequence[int], name: bytes) -> tuple[Word, ...]:
    return (command, key, *options, name)


def _still(
    session: Session, rule: ResolvedShared | None, key: bytes, kind: bytes, names: Sequence[bytes]
) -> Mapping[bytes, bool]:
    """Whether the members that are there are the tenant's now; what is not there has no answer."""

    def owns(seen: object) -> bool:
        return rule is not None and rule.owns(seen)

    if kind == b"hash":
        values = session.call("HMGET", key, *names)
        pairs = zip(names, values, strict=True)
        return {
            name: owns(seen_by(rule, name, value) if rule else name)
            for name, value in pairs
            if value is not None
        }
    if kind == b"stream":
        found = session.calls([("XRANGE", key, name, name) for name in names])
        return {name: owns(entry(one[0][1])) for name, one in zip(names, found, strict=True) if one}
    # The member's text is the member: it cannot have become another's.
    return {name: owns(name) for name in names}


def _refused(found: Sequence[bytes]) -> tuple[Refused, ...]:
    return tuple(Refused(item, NOT_THE_TENANTS) for item in found)
