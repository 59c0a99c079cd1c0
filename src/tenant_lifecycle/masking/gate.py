"""The gate before a clone is shown to anybody: every value of the source, canaries, forms, structure, groups, vectors.

::

    gate = Gate(masker, canaries=...)
    for shape in shapes: gate.learn("postgres", shape, source_items)
    for shape in shapes: gate.look("postgres", shape, items_read_back_from_the_clone)
    report = gate.report()          # report.passed, or the clone is destroyed

The source is read again for it, by the registry; the clone as it lies in its stores. Nothing of a value goes into the
report: kinds, places, counts, and digests under a key that is forgotten.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tenant_lifecycle.masking.canaries import Canaries, Canary
from tenant_lifecycle.masking.classes import SWEPT, DataClass
from tenant_lifecycle.masking.embedding import vector_digest
from tenant_lifecycle.masking.kanonymity import Groups, groups_of
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.people import is_value
from tenant_lifecycle.masking.report import Check, GateReport, Kind, Leak
from tenant_lifecycle.masking.spellings import spellings
from tenant_lifecycle.masking.structure import Detectors, Rows
from tenant_lifecycle.masking.sweep import TENANT, Sweep
from tenant_lifecycle.masking.texts import Field, Texts
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Shape

#: Values of each kind that the search is tried with.
TRIED = 50
#: Characters of a clone that are looked through at once.
_BATCH = 1 << 16
#: Leaks that a report names one by one.
_NAMED = 100


@dataclass(frozen=True, slots=True)
class SetItems:
    """A set of one side."""

    store: str
    shape: Shape
    items: Iterable[Item]


class Gate:
    """One clone's gate; `learn` all of the source, then `look` at all of the clone."""

    def __init__(self, masker: Masker, *, canaries: Sequence[Canary] = (), hosts: Sequence[str] = ()) -> None:
        """``hosts``: of production, which the clone may not name."""
        self._masker, self._registry = masker, masker.registry
        self._setting = masker.setting
        self._sweep, self._sealed = Sweep(), False
        self._source, self._clone = Rows(), Rows()
        self._texts = Texts(masker.registry, masker.forms, masker.setting.target.tenant)
        self._detectors = Detectors(masker.setting.target, hosts)
        self._canaries = Canaries(canaries, masker.pseudonym)
        self._source_vectors: set[int] = set()
        self._groups: dict[str, Groups] = {}
        self._leaks: Counter[Leak] = Counter()
        self._found: dict[str, set[str]] = defaultdict(set)
        self._vectors = self._characters = 0
        target = masker.setting.target
        self._own_names = [name for name in (target.target, target.target_name) if name]
        for alias in (masker.setting.target.tenant, *masker.setting.target.aliases):
            self._sweep.learn(TENANT, alias)

    def learn(self, store: str, shape: Shape, items: Iterable[Item]) -> None:
        """Values, keys and vectors of a set of the source."""
        rules = self._registry.rules(store, shape.set)
        assert rules is not None, "the masker refused sets without rules"
        for item in self._texts.whole(items):
            self._source.add(store, shape, rules, item)
            for place in self._masker.reader.places(store, shape, item):
                if (
                    place.rule is not None
                    and place.rule.cls in SWEPT
                    and is_value(place.rule.kind, place.text)
                ):
                    self._sweep.learn(place.rule.kind, place.full or place.text)
            for field in self._texts.fields(store, shape, item):
                self._canaries.source(field.text)
            self._source_vectors.update(map(vector_digest, self._texts.vectors(store, shape, item)))

    def look(self, store: str, shape: Shape, items: Iterable[Item]) -> None:
        """Go through a set of the clone."""
        if not self._sealed:
            self._sweep.seal()
            self._sealed = True
        rules = self._registry.rules(store, shape.set)
        assert rules is not None
        where = f"{store} {shape.set}"
        groups = groups_of(rules, shape, self._setting.target.k) if not rules.names else None
        if groups is not None:
            self._groups[where] = groups
        for batch in self._batches(items):
            for item in batch:
                self._clone.add(store, shape, rules, item)
                if groups is not None:
                    groups.add(item.cells)
                self._look_at_vectors(store, shape, item)
            self._look_at_texts(where, [f for item in batch for f in self._texts.fields(store, shape, item)])

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Items until there is enough for one search."""
        batch: list[Item] = []
        size = 0
        for item in self._texts.whole(items):
            batch.append(item)
            size += sum(len(cell) for cell in item.cells if cell is not None)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _look_at_texts(self, where: str, fields: list[Field]) -> None:
        """All at once first; one by one only if something is there."""
        for kept in (False, True):
            some = [field for field in fields if field.kept is kept]
            together = self._own_name_aside("\n".join(field.text for field in some))
            self._characters += len(together)
            if self._sweep.look(together, single=not kept):
                for field in some:
                    for hit in self._sweep.look(self._own_name_aside(field.text), single=not kept):
                        self._leak("value", hit.kind, f"{where}.{field.name}", hit.handle)
        self._look_at_forms(where, [field for field in fields if field.formed])
        for field in fields:
            whole = self._sweep.whole(field.text) if field.tenant else None
            if whole is not None and whole.kind == TENANT:
                self._leak("value", TENANT, f"{where}.{field.name}", whole.handle)
            if not field.readable:
                self._leak("unreadable", "binary", f"{where}.{field.name}", "")
            self._canaries.clone(field.text)
            for host in self._detectors.hosts(field.text):
                self._leak("host", host, f"{where}.{field.name}", "")

    def _look_at_forms(self, where: str, fields: list[Field]) -> None:
        if any(True for _ in self._detectors.look("\n".join(field.text for field in fields))):
            for field in fields:
                for span in self._detectors.look(field.text):
                    self._leak("form", span.kind, f"{where}.{field.name}", "")

    def _own_name_aside(self, text: str) -> str:
        """A clone ``acme-test`` of ``acme`` may say its own name."""
        for own in self._own_names:
            text = text.replace(own, " ")
        return text

    def _look_at_vectors(self, store: str, shape: Shape, item: Item) -> None:
        for vector in self._texts.vectors(store, shape, item):
            self._vectors += 1
            digest = vector_digest(vector)
            if digest in self._source_vectors and digest not in self._setting.unchanged:
                self._leak("vector", DataClass.EMBEDDING, f"{store} {shape.set}", f"{digest:016x}")

    def _leak(self, what: str, kind: str, where: str, handle: str) -> None:
        self._leaks[Leak(what, kind, where, handle)] += 1
        if what == "value":
            self._found[kind].add(handle)

    def report(self) -> GateReport:
        """What was found; the search itself is tried before it is believed."""
        checks = [
            self._check("canaries", self._canaries.problems()),
            self._check("keys", [f"{group}: {count} twice" for group, count in sorted(self._clone.doubles.items()) if count]),
            self._check("references", self._broken()),
            self._check("counts", self._missing()),
            self._check("groups", [f"{where}: {groups.smallest().small} groups with fewer than {self._setting.target.k}"
                                   for where, groups in self._groups.items() if groups.smallest().small]),
        ]  # fmt: skip
        named = [leak for leak, _ in self._leaks.most_common(_NAMED)]
        return GateReport(
            target=self._setting.target.target,
            facts=dict(self._masker.facts()),
            leaks=tuple(named),
            leaked=sum(self._leaks.values()),
            checks=tuple(checks),
            kinds=tuple(self._kinds()),
            items=dict(self._clone.counts),
            characters=self._characters,
            vectors=self._vectors,
            too_short=dict(self._sweep.too_short),
        )

    @staticmethod
    def _check(name: str, problems: list[str]) -> Check:
        return Check(name, tuple(problems))

    def _broken(self) -> list[str]:
        """References that lead nowhere in the clone and did in the source."""
        before = self._source.dangling()
        return [
            f"{reference}: {count} lead nowhere, {before.get(reference, 0)} in the source"
            for reference, count in sorted(self._clone.dangling().items())
            if count > before.get(reference, 0)
        ]

    def _missing(self) -> list[str]:
        """Sets of rows with another number of rows than the source's."""
        wanted = {
            where: count
            for where, count in self._source.counts.items()
            if self._masker.wants(*where.split(" ", 1))
        }
        left_out = {where.replace(" public.", " "): count for where, count in self._masker.left_out.items()}
        return [
            f"{where}: {self._clone.counts[where]} items, {count - left_out.get(where, 0)} expected"
            for where, count in sorted(wanted.items())
            if self._clone.counts[where] != count - left_out.get(where, 0)
        ]

    def _kinds(self) -> Iterator[Kind]:
        """By kind: values, those that were found, and how good the search is."""
        by_kind: dict[str, list[str]] = defaultdict(list)
        for kind, value in self._sweep.values:
            by_kind[kind].append(value)
        for kind, values in sorted(by_kind.items()):
            tried = random.Random(0).sample(values, min(TRIED, len(values)))
            missed: Counter[str] = Counter()
            total = 0
            for value in tried:
                hit = self._sweep.values[kind, value]
                for spelling, text in spellings(value):
                    total += 1
                    found = {one.handle for one in self._sweep.look(text)}
                    missed[spelling] += hit.handle not in found and not found
            yield Kind(
                kind,
                len(values),
                len(self._found[kind]),
                total,
                total - sum(missed.values()),
                tuple(sorted(one for one, n in missed.items() if n)),
            )


def check(
    masker: Masker,
    source: Iterable[SetItems],
    clone: Iterable[SetItems],
    *,
    canaries: Sequence[Canary] = (),
    hosts: Sequence[str] = (),
) -> GateReport:
    """A whole gate."""
    gate = Gate(masker, canaries=canaries, hosts=hosts)
    for one in source:
        gate.learn(one.store, one.shape, one.items)
    for one in clone:
        gate.look(one.store, one.shape, one.items)
    return gate.report()
