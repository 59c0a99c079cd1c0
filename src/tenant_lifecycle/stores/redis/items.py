"""The form of an item in a manifest: a whole key, or one member of a container that is shared.

A member is a hash's field, a member of a set or sorted set, a value in a list, or the id of a stream's entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_KEY, _MEMBER = b"K", b"M"
_LENGTH = 4


def whole(key: bytes) -> bytes:
    """The item for a whole key."""
    return _KEY + key


def member(key: bytes, name: bytes) -> bytes:
    """The item for a member of the container ``key``."""
    return _MEMBER + len(key).to_bytes(_LENGTH, "big") + key + name


def parse(item: bytes) -> tuple[bytes, bytes | None]:
    """The key, and the member's name; None: the whole key.

    Raises:
        ValueError: it is no item of this store.
    """
    if item[:1] == _KEY:
        return item[1:], None
    length = int.from_bytes(item[1 : 1 + _LENGTH], "big")
    start = 1 + _LENGTH
    if item[:1] != _MEMBER or len(item) < start + length:
        raise ValueError("no item of a Redis manifest")
    return item[start : start + length], item[start + length :]


def grouped(items: Iterable[bytes]) -> tuple[list[bytes], Mapping[bytes, list[bytes]]]:
    """Whole keys, and names of members by container; both in order."""
    keys: list[bytes] = []
    members: dict[bytes, list[bytes]] = {}
    for item in items:
        key, name = parse(item)
        if name is None:
            keys.append(key)
        else:
            members.setdefault(key, []).append(name)
    return keys, members
