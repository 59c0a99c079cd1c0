"""The preview against what is live: by how much they differ, and making the live vectors equal to it.

Namespaces are walked side by side. Writes of this service have no conditions: the driver token is looked at before
every batch. Whose a namespace is, is decided by the ids of both moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice

from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import IntegrityError, WrongState
from tenant_lifecycle.model.keymap import ResolvedKeys, Treatment
from tenant_lifecycle.stores.backing import SetDiff, Writing
from tenant_lifecycle.stores.base import Check, Feed
from tenant_lifecycle.stores.keyed import About, check_writing, chosen, kind_of, printable, set_diff
from tenant_lifecycle.stores.pinecone import keys as keyform
from tenant_lifecycle.stores.pinecone import ours
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.preview import Spaces, known
from tenant_lifecycle.stores.pinecone.removal import see_empty
from tenant_lifecycle.stores.pinecone.side import Side, candidates
from tenant_lifecycle.stores.pinecone.values import value_of
from tenant_lifecycle.stores.pinecone.vectors import upserts

#: Ids that are read on both sides at once.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """One id on both sides."""

    id: str
    restored: Vector | None
    live: Vector | None

    @property
    def equal(self) -> bool:
        mine, theirs = self.restored, self.live
        return mine is theirs if mine is None or theirs is None else value_of(mine) == value_of(theirs)


@dataclass(frozen=True)
class Facing:
    """One preview and the live namespaces."""

    spaces: Spaces
    about: About
    resolved: ResolvedKeys
    patience: Patience

    @property
    def side(self) -> Side:
        return self.spaces.side

    def namespaces(self, set_name: str) -> list[str]:
        """The preview's and the live ones of a set."""
        found = candidates(self.side, self.resolved.families[set_name], self.patience)
        live = {name for name in found if self.resolved.family_of(name) == set_name}
        return sorted(live | set(self.spaces.of(self.about, set_name)))

    def pairs(self, namespace: str) -> Iterator[list[Pair]]:
        """Every id that either side lists.

        Raises:
            IntegrityError: the preview lost a vector that it lists.
        """
        place = self.spaces.place(namespace)
        restored = ((id_, 0) for id_ in self._ids(place))
        live = ((id_, 1) for id_ in self._ids(namespace))
        listed = groupby(merge(restored, live), key=lambda one: one[0])
        both = ((id_, {side for _, side in some}) for id_, some in listed)
        while page := list(islice(both, PAGE)):
            ids = [id_ for id_, _ in page]
            found = self.side.freshness.read({place: ids, namespace: ids}, self.patience)
            if any(0 in sides and found[place, id_] is None for id_, sides in page):
                raise IntegrityError(
                    f"{self.side.name}: the preview {self.spaces.name} lost vectors after it was loaded",
                    next_step="restore it again",
                )
            yield [Pair(id_, found[place, id_], found[namespace, id_]) for id_ in ids]

    def _ids(self, namespace: str) -> Iterator[str]:
        if self.side.freshness.settle(namespace, self.patience) is not None:
            for page in self.side.client.pages(namespace, self.patience):
                yield from page

    def refuse_strangers(self, set_name: str) -> None:
        """Make sure that every namespace of the preview is the tenant's.

        Raises:
            WrongState: one is not, by the ids of both moments.
        """
        noted = self.spaces.of(self.about, set_name)
        if any(self.resolved.family_of(namespace) != set_name for namespace in noted):
            raise WrongState(
                f"{self.side.name}: namespaces of set {set_name} are not tenant {self.spaces.tenant!r}'s by the rows "
                "that are live; nothing was written",
                next_step="promote the relational store first: its rows say whose these namespaces are",
            )


def facing(spaces: Spaces, check: Check) -> Facing:
    """The preview and what is live; ids that say whose live namespaces are, are noted as they are now.

    Raises:
        WrongState: there is no such preview.
    """
    patience = Patience(check=check)
    about = known(spaces, patience).seeing(spaces.side.ids(spaces.tenant))
    spaces.note(about, patience)
    return Facing(spaces, about, spaces.side.key_map.resolve(spaces.tenant, about.ids), patience)


def diff(spaces: Spaces, examples: int, check: Check) -> list[SetDiff]:
    """Exact counts."""
    both = facing(spaces, check)
    found: list[SetDiff] = []
    for name in both.about.sets:
        counts: Counter[str] = Counter()
        shown: list[str] = []
        for namespace in both.namespaces(name):
            for page in both.pairs(namespace):
                check()
                for one in page:
                    what = kind_of(one.restored is not None, one.live is not None, one.equal)
                    counts[what] += 1
                    if what not in ("equal", "neither") and len(shown) < examples:
                        shown.append(printable(keyform.encode(namespace, one.id)))
        found.append(set_diff(name, counts, shown))
    return found


def promote(spaces: Spaces, writing: Writing, sets: Sequence[str] | None, check: Check) -> dict[str, int]:
    """Make the live vectors of these sets equal to the preview's; of all: what can be made again goes, it is stale.

    Raises:
        Fenced: a newer driver was here.
        WrongState: a namespace is not the tenant's; nothing was written.
    """
    check_writing(spaces.side.name, writing, spaces.tenant)
    feed = Feed(writing.name, writing.tenant, writing.token)
    both = facing(spaces, check)
    wanted = chosen(both.about, sets)
    for name in wanted:
        both.refuse_strangers(name)
    ours.guard(both.side, feed, both.patience)
    changed: dict[str, int] = {}
    for name in wanted:
        changed[name] = sum(_promote(both, feed, namespace) for namespace in both.namespaces(name))
    for name, family in both.resolved.families.items() if sets is None else ():
        if family.treatment is not Treatment.MOVE and name not in changed:
            changed[name] = sum(_drop(both, feed, one) for one in both.namespaces(name))
    return changed


def _promote(both: Facing, feed: Feed, namespace: str) -> int:
    changed = 0
    client, patience = both.side.client, both.patience
    for page in both.pairs(namespace):
        patience.check()
        different = [one for one in page if not one.equal]
        if not different:
            continue
        ours.guard(both.side, feed, patience)
        for body in upserts(one.restored for one in different if one.restored is not None):
            client.upsert(namespace, body, patience)
        gone = [one.id for one in different if one.restored is None]
        if gone:
            client.delete(namespace, gone, patience)
        changed += len(different)
    return changed


def _drop(both: Facing, feed: Feed, namespace: str) -> int:
    """Delete a namespace that can be made again; how many vectors it had."""
    count = sum(1 for _ in both._ids(namespace))
    if count:
        both.patience.check()
        ours.guard(both.side, feed, both.patience)
        both.side.client.drop_namespace(namespace, both.patience)
        see_empty(both.side, namespace, both.patience)
    return count
