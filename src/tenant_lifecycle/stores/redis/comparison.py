"""Comparing keys, both sides read at once: digests first, then the values of the few whose digests differ.

Equal digests of two dumps mean equal values. Different ones mean little: the server's encodings depend on
history and version, and the order in a set on a random seed. Such values are read and compared by what they
hold (`values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenant_lifecycle.model.verification import Difference, DifferenceKind
from tenant_lifecycle.stores.redis import values
from tenant_lifecycle.stores.redis.connection import Reply, Session, Word
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES, CALL_BYTES, CALL_KEYS, DIGESTS
from tenant_lifecycle.stores.redis.whose import text_of

#: Moments of expiry that are no further apart are equal. A server before 7.0 tells what is left, not the moment;
#: the moment is reckoned from its clock within the same script, and may be off by a millisecond or two each time.
TTL_TOLERANCE_MS = 100

ABSENT_KIND = b"none"
#: A key and the family it belongs to.
Named = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Seen:
    """A key on one side, as the comparison read it."""

    #: As TYPE says it; ``none``: it is not there.
    kind: bytes
    #: Milliseconds since 1970 by that side's clock; -1: it does not expire.
    expiry: int = -1
    #: In memory, estimated by the server.
    size: int = 0
    #: Empty: too big for a digest.
    digest: bytes = b""

    @property
    def there(self) -> bool:
        return self.kind != ABSENT_KIND


ABSENT = Seen(ABSENT_KIND)


@dataclass(frozen=True, slots=True)
class Both:
    """One key on both sides; ``now_ms`` is the later of the two clocks when it was read."""

    set: str
    key: bytes
    here: Seen
    there: Seen
    now_ms: int

    @property
    def values_to_be_read(self) -> bool:
        """Whether the digests leave open if the values are equal."""
        same = self.here.digest == self.there.digest and self.here.digest != b""
        return self.here.there and self.here.kind == self.there.kind and not same


def compare(
    on: tuple[Session, Session], keys: Sequence[Named]
) -> Iterator[list[tuple[Both, Difference | None]]]:
    """Each key as it is on both sides, with what is wrong with it; None if nothing is. In pages."""
    waiting = list(keys)
    while waiting:
        page = look(on, waiting)
        waiting = waiting[len(page) :]
        unsure = [one for one in page if one.values_to_be_read]
        unequal = values.unequal(
            on, [(one.key, one.here.kind, max(one.here.size, one.there.size)) for one in unsure]
        )
        yield [(one, judge(one, one.key not in unequal)) for one in page]


def look(on: tuple[Session, Session], keys: Sequence[Named]) -> list[Both]:
    """Types, expiries and digests of some of the keys, the first ones, on both sides at the same time."""
    some = keys[:CALL_KEYS]
    arguments: list[Word] = [BIG_BYTES, CALL_BYTES, ""]
    running = [session.begin(DIGESTS, [key for _, key in some], arguments) for session in on]
    (now_here, here), (now_there, there) = [seen(one.result()) for one in running]
    now = max(now_here, now_there)
    return [Both(name, key, a, b, now) for (name, key), a, b in zip(some, here, there, strict=False)]


def seen(reply: Reply) -> tuple[int, list[Seen]]:
    """The result of `DIGESTS`: the time, and keys as far as the call went."""
    now, kinds, expiries, sizes, digests = reply
    columns = zip(kinds.split(), expiries.split(), sizes.split(), digests.split(), strict=True)
    return now, [
        Seen(kind, int(expiry), int(size), b"" if digest == b"-" else digest)
        for kind, expiry, size, digest in columns
    ]


def judge(one: Both, equal_values: bool) -> Difference | None:
    """What is wrong with a key; None if nothing is. Pure."""
    here, there = one.here, one.there
    if not here.there and not there.there:
        return None
    if not here.there or not there.there:
        rest = here if here.there else there
        if 0 <= rest.expiry <= one.now_ms + TTL_TOLERANCE_MS:
            # Its time has come, on one side a moment earlier.
            return None
        kind = DifferenceKind.MISSING if here.there else DifferenceKind.EXTRA
        return Difference(one.set, one.key, text_of(one.key), kind)
    fields: list[str] = []
    if here.kind != there.kind:
        fields.append("type")
    elif not equal_values:
        fields.append("value")
    if not same_moment(here.expiry, there.expiry):
        fields.append("ttl")
    return (
        Difference(one.set, one.key, text_of(one.key), DifferenceKind.DIFFERENT, tuple(fields))
        if fields
        else None
    )


def same_moment(here: int, there: int) -> bool:
    """Whether two expiries are the same within what can be told. Pure."""
    if here < 0 or there < 0:
        return here < 0 and there < 0
    return abs(here - there) <= TTL_TOLERANCE_MS
