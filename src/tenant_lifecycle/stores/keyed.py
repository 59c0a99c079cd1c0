"""What the backups of stores without a change log share: a clock, a base that is read key by key, a preview's notes."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from tempfile import TemporaryFile
from typing import IO, Any

from tenant_lifecycle.errors import UsageError, WrongState
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.redis_value import Record, packed, unpacked
from tenant_lifecycle.model.backup.shape import Shape, opaque
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.keymap import IdSet, KeyMap, TenantIds, Treatment
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.backing import SetDiff, Writing

#: What is sorted goes to disk (a file without a name) in runs of about so many bytes.
RUN_BYTES = 8 * 2**20
#: How long ids that were seen to be the tenant's count as such although its rows do not have them any more. A
#: promotion looks at every preview under the fence before the first store is changed, and takes less.
REMEMBERED_US = 15 * 60 * 1_000_000
_NAME = re.compile(r"[a-z0-9_]{1,40}")


def machine_us() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000


@dataclass(slots=True)
class KeyedReading:
    """A base that is read item by item while writes go on; each item says when it was read."""

    at_us: int
    shapes: Mapping[str, Shape]
    facts: Mapping[str, Any]
    read: Callable[[str], Iterator[Item]]
    snapshot: Snapshot | None = None

    def items(self, set_name: str) -> Iterator[Item]:
        return self.read(set_name)


def kept_sets(rules: KeyMap) -> list[str]:
    """Families that a backup has: those that cannot be made again."""
    return [name for name, family in rules.families.items() if family.treatment is Treatment.MOVE]


def left_out(rules: KeyMap) -> dict[str, str]:
    """What a backup leaves out by the rules, and why; for the facts of a base."""
    again = {
        name: "can be made again"
        for name, family in rules.families.items()
        if family.treatment is not Treatment.MOVE
    }
    return again | dict.fromkeys(rules.shared, "shared by tenants")


def shapes_of(sets: Iterable[str]) -> dict[str, Shape]:
    return {name: opaque(name) for name in sets}


def checked_name(name: str) -> str:
    """A preview's name.

    Raises:
        UsageError: it has other letters, or is too long.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError("a preview's name has 1 to 40 of a-z, 0-9 and _")
    return name


def short(text: str) -> str:
    """A name for a set or a place that any store takes: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class About:
    """What is noted with a preview: whose it is, its sets, and the ids that say whose live items are.

    Ids are kept from one look to the next, because rows of the other moment have other ids: what only one of both
    moments knows has to be restored, or to go. They are forgotten when nobody looked for `REMEMBERED_US`: meanwhile
    they may have become another tenant's.
    """

    tenant: str
    sets: tuple[str, ...]
    ids: TenantIds = field(default_factory=TenantIds)
    #: A store's own.
    more: Mapping[str, Any] = field(default_factory=dict)
    #: The last look, microseconds since 1970 by the clock of whoever looked.
    seen_us: int = 0

    def seeing(self, ids: TenantIds) -> About:
        """With the ids that are the tenant's now."""
        now = machine_us()
        known = self.ids if 0 <= now - self.seen_us <= REMEMBERED_US else TenantIds()
        return replace(self, ids=known.union(ids), seen_us=now)

    def written(self) -> str:
        named = [
            [one.table.schema, one.table.name, one.column, sorted(keys)]
            for one, keys in self.ids.named.items()
        ]
        ids = {name: sorted(values) for name, values in sorted(self.ids.sets.items())}
        told = {
            "tenant": self.tenant,
            "sets": self.sets,
            "ids": ids,
            "named": sorted(named),
            "more": self.more,
            "seen_us": self.seen_us,
        }
        return json.dumps(told, sort_keys=True)

    @classmethod
    def read(cls, text: str | bytes) -> About:
        told = json.loads(text)
        named = {
            IdSet(TableName(schema, table), column): frozenset(keys)
            for schema, table, column, keys in told["named"]
        }
        ids = TenantIds({name: frozenset(values) for name, values in told["ids"].items()}, named)
        return cls(told["tenant"], tuple(told["sets"]), ids, told["more"], int(told["seen_us"]))


def in_order(records: Iterable[Record]) -> Iterator[Record]:
    """Sorted, each once, in bounded memory."""
    runs: list[IO[bytes]] = []
    try:
        run: list[Record] = []
        size = 0
        for record in records:
            run.append(record)
            size += sum(map(len, record)) + 100
            if size > RUN_BYTES:
                runs.append(_spilled(sorted(run)))
                run, size = [], 0
        yield from _once(heapq.merge(sorted(run), *(unpacked(_pieces(file)) for file in runs)))
    finally:
        for file in runs:
            file.close()


def _once(records: Iterable[Record]) -> Iterator[Record]:
    last: Record | None = None
    for record in records:
        if record != last:
            yield record
        last = record


def _spilled(run: list[Record]) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115
    file.writelines(map(packed, run))
    file.seek(0)
    return file


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(256 * 1024):
        yield piece


def printable(key: bytes) -> str:
    """A key for people."""
    return key.decode("utf-8", "backslashreplace").replace("\0", "/")


def refuse_another_tenants(store: str, name: str, owners: Iterable[str], mine: str) -> None:
    """A preview's name belongs to one tenant of a store; ``owners`` of it are compared with ``mine``.

    Raises:
        WrongState: it is another tenant's.
    """
    if any(owner != mine for owner in owners):
        raise WrongState(
            f"{store}: the preview {name} is another tenant's",
            next_step="discard that one, or take another name",
        )


def check_writing(store: str, writing: Writing, tenant: str) -> None:
    """A preview is promoted for the tenant whose it is.

    Raises:
        WrongState: somebody else was named.
    """
    if writing.tenant != tenant:
        raise WrongState(
            f"{store}: the preview is not of tenant {writing.tenant!r}", next_step="name its tenant"
        )


def kind_of(restored: bool, live: bool, equal: bool) -> str:
    """Which count of a `SetDiff` an item belongs to; ``neither``: it is on neither side."""
    if restored and live:
        return "equal" if equal else "changed"
    return "only_restored" if restored else "only_live" if live else "neither"


def set_diff(name: str, counts: Mapping[str, int], examples: Iterable[str]) -> SetDiff:
    """From counts by `kind_of`."""
    named = {what: counts.get(what, 0) for what in ("only_restored", "only_live", "changed", "equal")}
    return SetDiff(name, examples=tuple(examples), **named)


def chosen(about: About, sets: Sequence[str] | None) -> list[str]:
    """The preview's sets that were asked for; None: all.

    Raises:
        UsageError: it has no such set.
    """
    if strange := set(sets or ()) - set(about.sets):
        raise UsageError(f"the preview has no set {', '.join(sorted(strange))}")
    return [name for name in about.sets if sets is None or name in sets]
