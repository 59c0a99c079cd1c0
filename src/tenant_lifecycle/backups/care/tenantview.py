"""What a tenant's bases consist of: their manifests, and which packs each needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.backups.care.objects import Sort, sort_of
from tenant_lifecycle.backups.care.report import Problem
from tenant_lifecycle.backups.index import Index, open_index
from tenant_lifecycle.backups.manifests import Stored
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.reader import BaseReader
from tenant_lifecycle.errors import IntegrityError, KeyUnavailable


@dataclass(frozen=True, slots=True)
class TenantView:
    """The bases of one tenant, as far as they can be read."""

    #: By the name of the manifest's object, oldest first.
    stored: Mapping[str, Stored]
    #: By the same name: packs (SHA-256, hex) that the base needs, its parents' left out; None: it cannot be told.
    packs: Mapping[str, frozenset[str] | None]
    #: Contents that a base needs and no index knows, where there are any.
    lost: Mapping[str, int]
    index: Index
    #: What could not be read.
    problems: tuple[Problem, ...]

    @property
    def complete(self) -> bool:
        """Whether it is known what every base needs."""
        return not self.problems and not self.lost and None not in self.packs.values()

    def lineage(self, name: str) -> Iterator[str]:
        """Names of the manifests of a base and of the parents it is read with."""
        by_id = {one.manifest.id: found for found, one in self.stored.items()}
        following: str | None = name
        while following is not None:
            yield following
            parent = self.stored[following].manifest.parent
            following = by_id.get(parent) if parent else None


def view(place: Place, names: Sequence[str]) -> TenantView:
    """Of the tenant whose objects these are; damage is returned, not raised."""
    problems = [*_index_problems(place, names)]
    stored: dict[str, Stored] = {}
    for name in names:
        if sort_of(name) is Sort.MANIFEST:
            try:
                stored[name] = place.open_manifest(name)
            except (IntegrityError, KeyUnavailable) as exc:
                problems.append(Problem(name, str(exc)))
    if problems and any(sort_of(one.name) is Sort.INDEX for one in problems):
        return TenantView(stored, dict.fromkeys(stored), {}, Index(), tuple(problems))
    reader = BaseReader(place)
    packs: dict[str, frozenset[str] | None] = {}
    lost: dict[str, int] = {}
    for name, one in stored.items():
        try:
            located = [reader.index.find(content) for content in reader.references(one)]
        except (IntegrityError, KeyUnavailable) as exc:
            packs[name] = None
            problems.append(Problem(f"{name}#contents", str(exc)))
        else:
            packs[name] = frozenset(found.pack.sha256 for found in located if found is not None)
            if None in located:
                lost[name] = located.count(None)
    return TenantView(stored, packs, lost, reader.index, tuple(problems))


def _index_problems(place: Place, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if sort_of(name) is Sort.INDEX:
            try:
                open_index(place.sealer, name, place.storage.get(name))
            except (IntegrityError, KeyUnavailable) as exc:
                yield Problem(name, str(exc))
