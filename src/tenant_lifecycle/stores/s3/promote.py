"""The preview against what is live: by how much they differ, and making the live objects equal to it.

An object is written only where it differs, by a copy inside the service, on the condition that what is live is what
was compared. Where the bucket keeps versions, what was live before stays below. Whose an object is, is decided by
the ids of both moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tenant_lifecycle.errors import StoreBusy, WrongState
from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.stores.backing import SetDiff
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import About, chosen, kind_of, printable, set_diff
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.connection import Absent, Changed
from tenant_lifecycle.stores.s3.facts import differing_properties, same_content
from tenant_lifecycle.stores.s3.listing import stack
from tenant_lifecycle.stores.s3.owned import family_of, family_stacks
from tenant_lifecycle.stores.s3.preview import PAGE, Folder, Lying, lying
from tenant_lifecycle.stores.s3.stack import Version
from tenant_lifecycle.stores.s3.threads import each
from tenant_lifecycle.stores.s3.token import Guard
from tenant_lifecycle.stores.s3.transfer import Ways, bring

#: Attempts at one object while somebody writes it although the tenant is fenced.
TRIES = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """One key on both sides."""

    key: str
    restored: Lying | None
    live: Version | None
    equal: bool


@dataclass(frozen=True)
class Facing:
    """One preview and the live objects."""

    folder: Folder
    about: About
    resolved: ResolvedKeys

    @property
    def bucket(self) -> Bucket:
        return self.folder.bucket

    def pairs(self, set_name: str) -> Iterator[list[Pair]]:
        """Every object of the preview, then those that are only live; each once."""
        for page in lying(self.folder, set_name):
            yield each(lambda one: self.pair(one.key, one), page)
        for keys in self.live(set_name):
            found = each(lambda key: self.only_live(set_name, key), keys)
            yield [one for one in found if one is not None]

    def pair(self, key: str, restored: Lying) -> Pair:
        for _ in range(TRIES):
            live = stack(self.bucket, key, history=False).current
            try:
                return Pair(key, restored, live, live is not None and self._same(restored, key, live))
            except Absent:
                continue
        raise _busy(self.bucket)

    def only_live(self, set_name: str, key: str) -> Pair | None:
        if stack(self.bucket, self.folder.place(set_name, key), history=False).current is not None:
            return None
        live = stack(self.bucket, key, history=False).current
        return Pair(key, None, live, equal=False) if live is not None else None

    def live(self, set_name: str) -> Iterator[list[str]]:
        """Pages of the tenant's keys of a family."""
        page: list[str] = []
        for found in family_stacks(
            self.bucket, self.resolved, self.resolved.families[set_name], history=False
        ):
            page.append(found.key)
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page

    def _same(self, restored: Lying, key: str, live: Version) -> bool:
        """Content, headers, metadata and tags; content is read only where checksums do not decide."""
        bucket, mine = self.bucket, restored.version
        if mine.size != live.size:
            return False
        here, there = bucket.facts(restored.place, mine), bucket.facts(key, live)
        if differing_properties(here, there) or bucket.tags(restored.place, mine) != bucket.tags(key, live):
            return False
        equal = same_content(here, there)
        return bucket.digest(restored.place, mine) == bucket.digest(key, live) if equal is None else equal

    def refuse_strangers(self, set_name: str) -> None:
        """Make sure that every key of the preview is the tenant's.

        Raises:
            WrongState: one is not, by the ids of both moments.
        """
        for page in lying(self.folder, set_name):
            if any(family_of(self.resolved, one.key) != set_name for one in page):
                raise WrongState(
                    f"{self.bucket.store}: keys of set {set_name} are not tenant {self.folder.tenant!r}'s by the "
                    "rows that are live; nothing was written",
                    next_step="promote the relational store first: its rows say whose these keys are",
                )


def facing(folder: Folder) -> Facing:
    """The preview and what is live; ids that say whose live objects are, are noted as they are now.

    Raises:
        WrongState: there is no such preview.
    """
    about = folder.noted()
    if about is None:
        raise WrongState(
            f"{folder.bucket.store}: there is no preview {folder.name}", next_step="restore it again"
        )
    about = about.seeing(folder.area.ids(folder.tenant))
    folder.note(about)
    return Facing(folder, about, folder.area.keys.resolve(folder.tenant, about.ids))


def diff(folder: Folder, examples: int, check: Check) -> list[SetDiff]:
    """Exact counts."""
    both = facing(folder)
    found: list[SetDiff] = []
    for name in both.about.sets:
        counts: Counter[str] = Counter()
        shown: list[str] = []
        for page in both.pairs(name):
            check()
            for one in page:
                what = kind_of(one.restored is not None, one.live is not None, one.equal)
                counts[what] += 1
                if what != "equal" and len(shown) < examples:
                    shown.append(printable(one.key.encode()))
        found.append(set_diff(name, counts, shown))
    return found


def promote(folder: Folder, guard: Guard, sets: Sequence[str] | None, check: Check) -> dict[str, int]:
    """Make the live objects of these sets equal to the preview's; of all: what can be made again goes, it is stale.

    Raises:
        Fenced: a newer driver was here.
        WrongState: a key is not the tenant's; nothing was written.
        StoreBusy: an object changes all the time.
    """
    both = facing(folder)
    wanted = chosen(both.about, sets)
    for name in wanted:
        both.refuse_strangers(name)
    guard.check()
    changed: dict[str, int] = {}
    for name in wanted:
        changed[name] = 0
        ways = Ways(both.bucket, both.bucket, lies_at=partial(folder.place, name))
        for page in both.pairs(name):
            check()
            different = [one for one in page if not one.equal]
            each(lambda one, ways=ways: _write(both, guard, ways, one), different)  # type: ignore[misc]
            changed[name] += len(different)
    for name, family in both.resolved.families.items() if sets is None else ():
        if family.treatment is not Treatment.MOVE and name not in changed:
            changed[name] = 0
            for keys in both.live(name):
                check()
                each(lambda key: _delete(both.bucket, guard, key), keys)
                changed[name] += len(keys)
    return changed


def _write(both: Facing, guard: Guard, ways: Ways, one: Pair) -> None:
    if one.restored is None:
        return _delete(both.bucket, guard, one.key)
    restored, expected = one.restored, one.live.etag if one.live is not None else None
    for _ in range(TRIES):
        guard.check()
        try:
            tags = both.bucket.tags(restored.place, restored.version)
            bring(ways, both.folder.tenant, one.key, restored.version, tags, expected)
            return None
        except (Absent, Changed):
            now = stack(both.bucket, one.key, history=False).current
            expected = now.etag if now is not None else None
    raise _busy(both.bucket)


def _delete(bucket: Bucket, guard: Guard, key: str) -> None:
    for _ in range(TRIES):
        guard.check()
        live = stack(bucket, key, history=False).current
        if live is None:
            return None
        try:
            return bucket.delete(key, live.etag)
        except Changed:
            continue
    raise _busy(bucket)


def _busy(bucket: Bucket) -> StoreBusy:
    return StoreBusy(
        f"{bucket.store}: an object changes all the time, although the tenant's writes are refused", store=bucket.store,
        next_step="look who writes past the fence; then promote again",
    )  # fmt: skip
