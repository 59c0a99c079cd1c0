"""Shared containers as the eraser sees them: which there are, and pages of their members with what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.scan import glob, scan
from tenant_lifecycle.stores.redis.whose import is_ours, text_of

PAGE = 500

#: Name of a member, and what a rule looks at.
Member = tuple[bytes, object]


def containers(session: Session, rule: ResolvedShared) -> Iterator[tuple[bytes, bytes]]:
    """The rule's containers that are here, with their types; each once."""
    seen: set[bytes] = set()
    for keys in scan(session, glob(rule.containers)):
        new = [key for key in keys if rule.containers.matches(text_of(key)) and key not in seen]
        seen.update(new)
        kinds = session.calls([("TYPE", key) for key in new])
        yield from ((key, kind) for key, kind in zip(new, kinds, strict=True) if not is_ours(key))


def members(session: Session, key: bytes, kind: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:
    """Pages of members; none of a value that has no members."""
    if kind in READERS:
        yield from READERS[kind](session, key, rule)


def seen_by(rule: ResolvedShared, name: bytes, value: bytes) -> object:
    """What the rule looks at in a hash: the value if it has a path, else the field's name."""
    return value if rule.path else name


def entry(fields: Sequence[bytes]) -> Mapping[str, bytes]:
    """A stream's entry as a mapping."""
    return {text_of(fields[at]): fields[at + 1] for at in range(0, len(fields), 2)}


def _list(session: Session, key: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:  # noqa: ARG001
    start = 0
    while part := session.call("LRANGE", key, start, start + PAGE - 1):
        yield [(one, one) for one in part]
        start += len(part)


def _set(session: Session, key: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:  # noqa: ARG001
    for part in _walk(session, "SSCAN", key):
        yield [(one, one) for one in part]


def _sorted_set(session: Session, key: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:  # noqa: ARG001
    for part in _walk(session, "ZSCAN", key):
        yield [(one, one) for one in part[::2]]


def _hash(session: Session, key: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:
    for part in _walk(session, "HSCAN", key):
        pairs = zip(part[::2], part[1::2], strict=True)
        yield [(name, seen_by(rule, name, value)) for name, value in pairs]


def _walk(session: Session, command: str, key: bytes) -> Iterator[list[bytes]]:
    cursor = b"0"
    while True:
        cursor, part = session.call(command, key, cursor, "COUNT", PAGE)
        yield part
        if cursor == b"0":
            return


def _stream(session: Session, key: bytes, rule: ResolvedShared) -> Iterator[list[Member]]:  # noqa: ARG001
    start = b"-"
    while part := session.call("XRANGE", key, start, "+", "COUNT", PAGE):
        yield [(id_, entry(fields)) for id_, fields in part]
        start = b"(" + part[-1][0]


READERS: Mapping[bytes, Callable[[Session, bytes, ResolvedShared], Iterator[list[Member]]]] = {
    b"list": _list, b"set": _set, b"zset": _sorted_set, b"hash": _hash, b"stream": _stream,
}  # fmt: skip
