"""The preview against what is live: by how much they differ, and making the live keys equal to it.

A key is written only where it differs, by a copy inside the server, in one step with its expiry. Whoever is killed
is followed by somebody who finds less to do. Whose a key is, is decided by the ids of both moments; a key that is not
the tenant's by them is not written, and then nothing is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tenant_lifecycle.errors import IntegrityError, WrongState
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import Held
from tenant_lifecycle.model.backup.redis_value import Header
from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.stores.backing import SetDiff, Writing
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.keyed import (
    About,
    check_writing,
    chosen,
    in_order,
    kind_of,
    machine_us,
    printable,
    set_diff,
)
from tenant_lifecycle.stores.redis import ours, pieces, preview
from tenant_lifecycle.stores.redis.backup import paged
from tenant_lifecycle.stores.redis.connection import Session, Word
from tenant_lifecycle.stores.redis.contents import Wanted, heads
from tenant_lifecycle.stores.redis.ours import Command
from tenant_lifecycle.stores.redis.preview import Area
from tenant_lifecycle.stores.redis.scan import tenants_keys
from tenant_lifecycle.stores.redis.scripts import BIG_BYTES
from tenant_lifecycle.stores.redis.whose import is_ours, text_of

#: Commands of one step of the server: a copy and its expiry are two of them.
STEP = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """One key on both sides; an item that has expired by now is None."""

    key: bytes
    restored: Item | None
    live: Item | None

    @property
    def equal(self) -> bool:
        mine, theirs = self.restored, self.live
        return mine is theirs if mine is None or theirs is None else mine.cells == theirs.cells


class Facing:
    """One preview and the live keys; each of the three connections does one thing at a time."""

    def __init__(self, area: Area, about: About, sessions: tuple[Session, Session, Session]) -> None:
        self.area, self.about = area, about
        self.walker, self.reader, self.writer = sessions
        self.resolved: ResolvedKeys = area.server.whose.map.resolve(area.tenant, about.ids)

    def pairs(self, set_name: str) -> Iterator[list[Pair]]:
        """Every key of the preview, then those that only live ones have; each once.

        Raises:
            IntegrityError: the preview lost a value that was loaded.
        """
        expiry = preview.policy(self.about)
        for page in preview.indexed(self.walker, self.area, set_name):
            yield self._compared(set_name, [(key, expiry(moment)) for key, moment in page])
        for keys in self.live(set_name):
            known = self.reader.call("ZMSCORE", self.area.index(set_name), *keys)
            only = [key for key, moment in zip(keys, known, strict=True) if moment is None]
            items = heads(self.reader, [Wanted(set_name, key) for key in only], machine_us)
            yield [Pair(key, None, item) for key, item in zip(only, items, strict=True) if item is not None]

    def _compared(self, set_name: str, page: Sequence[tuple[bytes, int | None]]) -> list[Pair]:
        restored = heads(self.reader, preview.wanted(self.area, set_name, page), machine_us)
        if None in restored:
            raise IntegrityError(
                f"{self.area.server.name}: the preview {self.area.name} lost values after it was loaded",
                next_step="look whether the server evicts keys (maxmemory-policy), then restore again",
            )
        live = heads(self.reader, [Wanted(set_name, key) for key, _ in page], machine_us)
        now = now_ms(self.reader)
        return [
            Pair(key, None if moment is not None and moment <= now else mine, theirs)
            for (key, moment), mine, theirs in zip(page, restored, live, strict=True)
        ]

    def live(self, set_name: str) -> Iterator[list[bytes]]:
        """Pages of the tenant's keys in a family, each key once."""
        pages = tenants_keys(self.walker, self.resolved, [set_name])
        return paged(key for (key,) in in_order((key,) for page in pages for _, key in page))

    def refuse_strangers(self, set_name: str) -> None:
        """Make sure that every key of the preview is the tenant's.

        Raises:
            WrongState: one is not, by the ids of both moments.
        """
        for page in preview.indexed(self.walker, self.area, set_name):
            strange = [key for key, _ in page if self.resolved.family_of(text_of(key)) != set_name]
            if strange or any(is_ours(key) for key, _ in page):
                raise WrongState(
                    f"{self.area.server.name}: keys of set {set_name} are not tenant {self.area.tenant!r}'s by the "
                    "rows that are live; nothing was written",
                    next_step="promote the relational store first: its rows say whose these keys are",
                )


@contextmanager
def facing(area: Area) -> Iterator[Facing]:
    """The preview and what is live; ids that say whose live keys are, are noted as they are now.

    Raises:
        WrongState: there is no such preview.
    """
    server = area.server
    with server.session() as walker, server.session() as reader, server.session() as writer:
        about = area.noted(reader)
        if about is None:
            raise WrongState(f"{server.name}: there is no preview {area.name}", next_step="restore it again")
        about = about.seeing(server.whose.ids_now(area.tenant))
        writer.call("SET", area.about, about.written())
        yield Facing(area, about, (walker, reader, writer))


def diff(area: Area, examples: int, check: Check) -> list[SetDiff]:
    """Exact counts; a key whose expiry alone differs has changed."""
    found: list[SetDiff] = []
    with facing(area) as both:
        for name in both.about.sets:
            counts: Counter[str] = Counter()
            shown: list[str] = []
            for page in both.pairs(name):
                check()
                for one in page:
                    what = kind_of(one.restored is not None, one.live is not None, one.equal)
                    counts[what] += 1
                    if what not in ("equal", "neither") and len(shown) < examples:
                        shown.append(printable(one.key))
            found.append(set_diff(name, counts, shown))
    return found


def promote(area: Area, writing: Writing, sets: Sequence[str] | None, check: Check) -> dict[str, int]:
    """Make the live keys of these sets equal to the preview's; of all: what can be made again goes, it is stale.

    Raises:
        Fenced: a newer driver was here.
        WrongState: a key is not the tenant's; nothing was written.
    """
    check_writing(area.server.name, writing, area.tenant)
    feed = Feed(writing.name, writing.tenant, writing.token)
    changed: dict[str, int] = {}
    with facing(area) as both:
        wanted = chosen(both.about, sets)
        for name in wanted:
            both.refuse_strangers(name)
        ours.write(both.writer, feed, [])
        for name in wanted:
            changed[name] = 0
            for page in both.pairs(name):
                check()
                different = [one for one in page if not one.equal]
                _write(both, feed, name, different, check)
                changed[name] += len(different)
        again = area.server.whose.sets(Treatment.WARM, Treatment.SKIP) if sets is None else []
        for name in (one for one in again if one not in changed):
            changed[name] = 0
            for keys in both.live(name):
                check()
                changed[name] += sum(ours.write(both.writer, feed, [_unlink(key) for key in keys]))
    return changed


def _write(both: Facing, feed: Feed, set_name: str, pairs: Sequence[Pair], check: Check) -> None:
    if not pairs:
        return
    sizes = both.reader.calls([("MEMORY", "USAGE", both.area.value(set_name, one.key)) for one in pairs])
    small: list[Command] = []
    for one, size in zip(pairs, sizes, strict=True):
        place = both.area.value(set_name, one.key)
        if one.restored is None:
            small.append(_unlink(one.key))
            continue
        if int(size or 0) > BIG_BYTES:
            pieces.rebuild(both.reader, both.writer, feed, one.key, check, lies_at=place)
        else:
            small.append(Command(("COPY", place, one.key, "REPLACE"), (place, one.key)))
        small.append(Command(_lasting(one.key, one.restored), (one.key,)))
    for at in range(0, len(small), STEP):
        ours.write(both.writer, feed, small[at : at + STEP])


def _lasting(key: bytes, restored: Item) -> tuple[Word, ...]:
    """The command that gives a restored key its expiry."""
    header = Header.read(Held.read(restored.cells[0] or b"").header)
    return ("PERSIST", key) if header.expiry_ms is None else ("PEXPIREAT", key, header.expiry_ms)


def _unlink(key: bytes) -> Command:
    return Command(("UNLINK", key), (key,))


def now_ms(session: Session) -> int:
    """Milliseconds since 1970 by the server's clock."""
    seconds, micros = session.call("TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000
