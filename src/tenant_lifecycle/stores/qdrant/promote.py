"""The preview against what is live: by how much they differ, and making the live points equal to it.

Values of vectors with the cosine distance count as equal within the tolerance of `points`. Writes have no conditions:
the driver token is looked at before every batch. Whose a collection is, is decided by the ids of both moments; in a
shared one, by what stands in the point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdrant_client import models

from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.stores.backing import SetDiff, Writing
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.keyed import About, check_writing, chosen, kind_of, printable, set_diff
from tenant_lifecycle.stores.qdrant import keys as keyform
from tenant_lifecycle.stores.qdrant import ours
from tenant_lifecycle.stores.qdrant.client import point_id
from tenant_lifecycle.stores.qdrant.comparing import cosine
from tenant_lifecycle.stores.qdrant.keys import PointId
from tenant_lifecycle.stores.qdrant.points import content
from tenant_lifecycle.stores.qdrant.preview import Beside, like, of
from tenant_lifecycle.stores.qdrant.side import Side, is_ours


@dataclass(frozen=True, slots=True)
class Pair:
    """One point on both sides."""

    id: PointId
    restored: models.Record | None
    live: models.Record | None
    equal: bool


@dataclass(frozen=True)
class Facing:
    """One preview and the live collections."""

    beside: Beside
    about: About
    resolved: ResolvedKeys
    #: Names of the live collections.
    present: list[str]

    @property
    def side(self) -> Side:
        return self.beside.side

    def collections(self, set_name: str) -> list[str]:
        """The preview's and the live ones of a set."""
        live = {one for one in self.present if self.set_of(one) == set_name}
        return sorted(live | set(of(self.about, set_name)))

    def set_of(self, collection: str) -> str | None:
        if is_ours(collection):
            return None
        if collection == self.side.shared:
            return self.side.shared
        return self.resolved.family_of(collection)

    def pairs(self, set_name: str, collection: str) -> Iterator[list[Pair]]:
        """Every point of the preview, then those that only are live."""
        client, place = self.side.client, self.beside.place(collection)
        there = collection in of(self.about, set_name)
        near = cosine(self.side, collection) if collection in self.present else frozenset()
        if there:
            for page in client.pages(place, None, whole=True):
                live = self.side.read(collection, [point_id(one) for one in page], self.present)
                yield [self._pair(collection, one, live.get(point_id(one)), near) for one in page]
        if collection in self.present:
            for page in client.pages(collection, self.condition(collection), whole=False):
                restored = client.retrieve(place, [point_id(one) for one in page]) if there else {}
                only = [one for one in page if point_id(one) not in restored]
                yield [Pair(point_id(one), None, one, equal=False) for one in only]

    def _pair(
        self, collection: str, restored: models.Record, live: models.Record | None, near: frozenset[str]
    ) -> Pair:
        tenant = self.beside.tenant
        if not self.side.owns(tenant, collection, restored) or (
            live is not None and not self.side.owns(tenant, collection, live)
        ):
            raise WrongState(
                f"{self.side.name}: a point of the preview is another tenant's",
                next_step="ids must be unique among the tenants that share a collection",
            )
        equal = live is not None and not content(restored).differing(content(live), near)
        return Pair(point_id(restored), restored, live, equal)

    def condition(self, collection: str) -> models.Filter | None:
        return self.side.condition(self.beside.tenant) if collection == self.side.shared else None

    def refuse_strangers(self, set_name: str) -> None:
        """Make sure that everything of the preview is the tenant's.

        Raises:
            WrongState: something is not, by the ids of both moments or by what stands in a point.
        """
        noted = of(self.about, set_name)
        if any(self.set_of(collection) != set_name for collection in noted):
            raise WrongState(
                f"{self.side.name}: collections of set {set_name} are not tenant {self.beside.tenant!r}'s by the rows "
                "that are live; nothing was written",
                next_step="promote the relational store first: its rows say whose these collections are",
            )
        if self.side.shared in noted:
            for _ in self.pairs(set_name, self.side.shared):
                pass


def facing(beside: Beside) -> Facing:
    """The preview and what is live; ids that say whose live collections are, are noted as they are now."""
    about = beside.known().seeing(beside.side.ids(beside.tenant))
    beside.note(about)
    resolved = beside.side.key_map.resolve(beside.tenant, about.ids)
    return Facing(beside, about, resolved, beside.side.client.collections())


def diff(beside: Beside, examples: int, check: Check) -> list[SetDiff]:
    """Exact counts."""
    both = facing(beside)
    found: list[SetDiff] = []
    for name in both.about.sets:
        counts: Counter[str] = Counter()
        shown: list[str] = []
        for collection in both.collections(name):
            for page in both.pairs(name, collection):
                check()
                for one in page:
                    what = kind_of(one.restored is not None, one.live is not None, one.equal)
                    counts[what] += 1
                    if what != "equal" and len(shown) < examples:
                        shown.append(printable(keyform.encode(collection, one.id)))
        found.append(set_diff(name, counts, shown))
    return found


def promote(beside: Beside, writing: Writing, sets: Sequence[str] | None, check: Check) -> dict[str, int]:
    """Make the live points of these sets equal to the preview's; of all: what can be made again goes, it is stale.

    Raises:
        Fenced: a newer driver was here.
        WrongState: something is not the tenant's; nothing was written.
    """
    check_writing(beside.side.name, writing, beside.tenant)
    feed = Feed(writing.name, writing.tenant, writing.token)
    both = facing(beside)
    wanted = chosen(both.about, sets)
    for name in wanted:
        both.refuse_strangers(name)
    ours.guard(both.side, feed)
    changed = {
        name: sum(_promote(both, feed, name, one, check) for one in both.collections(name)) for name in wanted
    }
    for name in both.resolved.families if sets is None else ():
        if both.side.treatment(name) is not Treatment.MOVE and name not in changed:
            changed[name] = sum(_empty(both, feed, one, check) for one in both.collections(name))
    return changed


def _promote(both: Facing, feed: Feed, set_name: str, collection: str, check: Check) -> int:
    client = both.side.client
    noted = collection in of(both.about, set_name)
    if noted and collection not in both.present:
        client.create(collection, like(both.beside, both.about, set_name, collection))
    changed = 0
    # What is only live is deleted when all of it is known: a listing does not bear deletions under way.
    gone: list[PointId] = []
    for page in both.pairs(set_name, collection):
        check()
        written = [one.restored for one in page if one.restored is not None and not one.equal]
        if written:
            ours.guard(both.side, feed)
            client.upsert(collection, written)
        gone += [one.id for one in page if one.restored is None]
        changed += len(written)
    _delete(both, feed, collection, gone, check)
    if not noted and both.condition(collection) is None:
        client.drop(collection)
    return changed + len(gone)


def _empty(both: Facing, feed: Feed, collection: str, check: Check) -> int:
    """Delete every point of a collection that can be made again; the collection stays, to be filled."""
    pages = both.side.client.pages(collection, None, whole=False)
    gone = [point_id(one) for page in pages for one in page]
    _delete(both, feed, collection, gone, check)
    return len(gone)


def _delete(both: Facing, feed: Feed, collection: str, ids: Sequence[PointId], check: Check) -> None:
    for at in range(0, len(ids), 1_000):
        check()
        ours.guard(both.side, feed)
        both.side.client.delete(collection, ids[at : at + 1_000])
