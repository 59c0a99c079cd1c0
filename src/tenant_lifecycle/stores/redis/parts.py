"""The parts of a copy: which keys there are to be copied, written down on the target under a name of ours.

Written down, because nothing at the source can: SCAN has no ranges, and keys come and go. The list is a hash
with a field for each part; the keys of a part that is done are forgotten. It goes away by itself long after
the move. Keys that come up after the list was made are told by the journal.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.keymap import Treatment
from tenant_lifecycle.stores.base import Copied, Feed, Part
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.connection import Session
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.scan import tenants_keys
from tenant_lifecycle.stores.redis.server import Server

KEYS_PER_PART = 5_000
#: A list that a driver began and did not finish goes away after this.
UNFINISHED_S = 3_600
#: And a finished one after this; longer than any move.
KEPT_S = 90 * 86_400
#: The field that says that the list is whole.
_WHOLE = b"whole"


@dataclass(frozen=True, slots=True)
class Listed:
    """A part as it is written down."""

    set: str
    items: int
    #: None until it is done.
    copied: Copied | None

    def written(self) -> bytes:
        done = [self.copied.items, self.copied.bytes] if self.copied is not None else None
        return json.dumps([self.set, self.items, done]).encode()

    @classmethod
    def read(cls, text: bytes) -> Listed:
        set_name, items, done = json.loads(text)
        return cls(set_name, items, Copied(*done) if done is not None else None)


def split(source: Server, target: Server, feed: Feed, keys_per_part: int = KEYS_PER_PART) -> list[Part]:
    """List the tenant's keys, family by family; later calls return the same parts with what is done.

    Families that are skipped have none.

    Raises:
        Fenced: a newer driver was here.
    """
    index = _index(feed)
    with target.session() as writer:
        found = _listed(writer, index)
        if found is not None:
            return found
        draft = ours.our_key(feed.tenant, "copy", feed.name, secrets.token_hex(8))
        with source.session() as reader:
            for number, (name, keys) in enumerate(_chunks(source, reader, feed, keys_per_part)):
                part = f"{number:06d}".encode()
                fields = [part, Listed(name, len(keys), None).written(), b"keys" + part, _packed(keys)]
                ours.write(
                    writer, feed,
                    [Command(("HSET", draft, *fields), (draft,)), Command(("EXPIRE", draft, UNFINISHED_S), (draft,))],
                )  # fmt: skip
        # Two drivers may have listed at once: the first to come here is right, and the other list goes away.
        ours.write(
            writer, feed,
            [
                Command(("HSET", draft, _WHOLE, 1), (draft,)),
                Command(("RENAMENX", draft, index), (draft, index)),
                Command(("EXPIRE", index, KEPT_S), (index,)),
                Command(("UNLINK", draft), (draft,)),
            ],
        )  # fmt: skip
        return _listed(writer, index) or []


def part_keys(writer: Session, feed: Feed, part: Part) -> tuple[list[bytes], Copied | None]:
    """The keys of a part, and what was copied if it is done (then no keys).

    Raises:
        WrongState: the part was never split off.
    """
    name = part.name.encode()
    text, packed = writer.call("HMGET", _index(feed), name, b"keys" + name)
    if text is None:
        raise WrongState(f"part {part.name} of feed {feed.name} is not in the target; split the copy first")
    copied = Listed.read(text).copied
    return (_unpacked(packed) if packed is not None and copied is None else []), copied


def mark_done(writer: Session, feed: Feed, part: Part, copied: Copied) -> None:
    """Write down that a part is done.

    Raises:
        Fenced: a newer driver was here.
    """
    index, name = _index(feed), part.name.encode()
    done = Listed(part.set, part.items, copied).written()
    ours.write(
        writer, feed,
        [Command(("HSET", index, name, done), (index,)), Command(("HDEL", index, b"keys" + name), (index,))],
    )  # fmt: skip


def _index(feed: Feed) -> bytes:
    return ours.our_key(feed.tenant, "copy", feed.name)


def _listed(session: Session, index: bytes) -> list[Part] | None:
    """The parts, in order; None: there is no list yet. The keys are left where they are."""
    if not session.call("HEXISTS", index, _WHOLE):
        return None
    names = sorted(
        name for name in session.call("HKEYS", index) if name != _WHOLE and not name.startswith(b"keys")
    )
    if not names:
        return []
    read = map(Listed.read, session.call("HMGET", index, *names))
    return [
        Part(name.decode(), one.set, one.items, one.copied is not None)
        for name, one in zip(names, read, strict=True)
    ]


def _chunks(source: Server, reader: Session, feed: Feed, size: int) -> Iterator[tuple[str, list[bytes]]]:
    resolved = source.whose.resolve(feed.tenant)
    filling: dict[str, list[bytes]] = {}
    for page in tenants_keys(reader, resolved, source.whose.sets(Treatment.MOVE, Treatment.WARM)):
        for name, key in page:
            keys = filling.setdefault(name, [])
            keys.append(key)
            if len(keys) >= size:
                yield name, filling.pop(name)
    yield from filling.items()


def _packed(keys: list[bytes]) -> bytes:
    """Lengths before the keys: a key may hold any byte."""
    return zlib.compress(b"".join(len(key).to_bytes(4, "big") + key for key in keys), 1)


def _unpacked(packed: bytes) -> list[bytes]:
    raw, at, keys = zlib.decompress(packed), 0, []
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
        keys.append(raw[at + 4 : end])
        at = end
    return keys
