"""Masks a tenant's items on their way into a clone: first looked through, all of them, then masked one by one.

::

    masker = Masker(registry, key, Target("acme", "acme-staging"), row_keys={"postgres": row_key})
    for shape in shapes: masker.prepare("postgres", shape, items(shape.set))
    masker.ready()
    for shape in shapes: preview.load(shape.set, masker.mask("postgres", shape, items(shape.set)))

The first pass learns the tenant's people, its secrets, the ranges of its ids, the sizes of its groups, and every
place without a rule; `ready` refuses with all of those by name. PostgreSQL is masked before stores whose vectors are
made from its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from tenant_lifecycle.errors import PreconditionRefused, WrongState
from tenant_lifecycle.masking.aliases import aliases_of, replacement
from tenant_lifecycle.masking.classes import SWEPT, DataClass, DataType
from tenant_lifecycle.masking.classify import SAMPLE, Classifier, Proposal, too_mild
from tenant_lifecycle.masking.compiled import NamedMask, RowKey, RowMask, SetMask, coarsening
from tenant_lifecycle.masking.embedding import Embedder, HashingEmbedder
from tenant_lifecycle.masking.forms import Form
from tenant_lifecycle.masking.kanonymity import Groups, groups_of
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.modes import Mode, data_types
from tenant_lifecycle.masking.names import TABLE, Names
from tenant_lifecycle.masking.people import People
from tenant_lifecycle.masking.reading import Place, Reader
from tenant_lifecycle.masking.registry import INTEGER_BITS, Registry, SetRules
from tenant_lifecycle.masking.setting import Setting, Target
from tenant_lifecycle.masking.text import Recognise, TextMasker
from tenant_lifecycle.masking.transformers.amounts import Means
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import is_part
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity

#: Of pseudonyms: the same key, version and table give the same ones.
ALGORITHM = "mask-1"


@dataclass(frozen=True, slots=True)
class IdNeed:
    """Whole numbers that a clone needs beside those of the tenants that are there already."""

    domain: str
    store: str
    set: str
    #: The column whose ids they are; others refer to it.
    column: str
    size: int


class Masker:
    """One clone's masking. `prepare` and `mask` may run in several threads for different sets only."""

    def __init__(
        self,
        registry: Registry,
        key: MaskingKey,
        target: Target,
        *,
        types: Collection[DataType] = data_types(Mode.FULL),
        row_keys: Mapping[str, RowKey] | None = None,
        forms: Mapping[str, Form] | None = None,
        embedder: Embedder | None = None,
        recognisers: Sequence[Recognise] = (),
    ) -> None:
        """``row_keys``: by store with rows, how a row's key is made; ``forms``: by other store, how items are read.

        Raises:
            UsageError: the target is the tenant itself, or its mail would go to strangers.
        """
        target.check()
        self.registry, self._key, self._types = registry, key, frozenset(types)
        self._row_keys, self.forms, self._recognisers = row_keys or {}, forms or {}, recognisers
        self.setting = Setting(key, target, People(key), embedder or HashingEmbedder())
        self.reader = Reader(registry, self.forms, target.tenant)
        self._unknown: dict[str, None] = {}
        self._proposals: dict[str, Proposal] = {}
        self._too_mild: list[Finding] = []
        self._groups: dict[tuple[str, str], Groups] = {}
        self._counts: Counter[str] = Counter()
        self._owners: dict[str, tuple[str, str, str]] = {}
        self._left_out: Counter[str] = Counter()
        self._ready = False

    def facts(self) -> Mapping[str, str]:
        """For the clone's manifest: what its pseudonyms hang on, the key aside."""
        return {"algorithm": ALGORITHM, "names": TABLE, "embedder": self.setting.embedder.name}

    def wants(self, store: str, set_name: str) -> bool:
        """Whether the clone has the set at all."""
        rules = self.registry.rules(store, set_name)
        return rules is not None and rules.data in self._types

    def findings(self, store: str, shapes: Mapping[str, Shape]) -> list[Finding]:
        """What forbids or endangers masking, as far as columns tell it; see `ready` for the rest."""
        return self.registry.findings(store, shapes)

    def prepare(self, store: str, shape: Shape, items: Iterable[Item]) -> int:
        """Look through a set; how many items it has. All sets, also those that the clone does not have."""
        rules = self._rules(store, shape.set)
        reading = iter(items)
        sample = list(islice(reading, SAMPLE))
        self._classify(store, shape, rules, sample)
        if rules is None:
            self._unknown[f"{store} {shape.set}"] = None
            return len(sample) + sum(1 for _ in reading)
        count = 0
        groups = self._counting(store, shape, rules)
        self._own_ids(store, shape, rules)
        coarse = coarsening(rules, shape, self.setting)
        for item in chain(sample, reading):
            count += 1
            if is_part(item.key):
                continue
            for place in self.reader.places(store, shape, item):
                self._learn(place)
            if groups is not None:
                groups.add(coarse(item))
        return count

    def ready(self) -> None:
        """End the first pass.

        Raises:
            PreconditionRefused: places without a rule; ``findings`` names each.
        """
        findings = [self._finding(where) for where in self._unknown] + self._too_mild
        if findings:
            raise PreconditionRefused(
                f"the masking registry does not know, or takes too lightly, {len(findings)} places: "
                + "; ".join(finding.message for finding in findings[:3]),
                findings=findings,
                next_step="review what is proposed for each and enter its class in the masking registry",
            )
        setting = self.setting
        setting.people.number_emails()
        setting.names = Names(self._key, setting.people.name_words())
        masker = TextMasker(
            aliases_of(setting),
            lambda kind, text: replacement(setting, kind, text),
            setting.phones,
            self._recognisers,
        )
        setting.text, setting.mentions = masker, masker.mentions
        self._ready = True

    def id_needs(self) -> list[IdNeed]:
        """What to reserve in a store that has other tenants too, when all of the source was looked through."""
        needs = []
        for domain, (store, set_name, column) in self._owners.items():
            if domain in self.setting.seen and self.wants(store, set_name):
                needs.append(IdNeed(domain, store, set_name, column, self.setting.id_range(domain).size))
        return needs

    def start_ids(self, domain: str, start: int) -> None:
        """The clone's ids of the domain begin here. Without it they lie where the source's do, permuted.

        Raises:
            WrongState: something was masked already.
        """
        if self.counts:
            raise WrongState("ids were given out already", next_step="reserve ids before masking")
        self.setting.starts[domain] = start

    def mask(self, store: str, shape: Shape, items: Iterable[Item]) -> Iterator[Item]:
        """The clone's items of a set, as they come; none if the clone does not have the set.

        Raises:
            WrongState: `ready` was not called.
        """
        if not self._ready:
            raise WrongState(
                "the source was not looked through", next_step="prepare every set, then call ready"
            )
        where = f"{store} {shape.set}"
        self._counts[where] = self._left_out[where] = 0
        if not self.wants(store, shape.set):
            self._shelve(store, shape, items)
            return
        mask = self._compiled(store, shape, self._types)
        for item in items:
            masked = mask(item)
            if masked is not None:
                self._counts[where] += 1
                yield masked
            elif not is_part(item.key):
                self._left_out[where] += 1

    def _shelve(self, store: str, shape: Shape, items: Iterable[Item]) -> None:
        """Make the vectors that other stores have of a text that the clone itself has not."""
        rules = self._rules(store, shape.set)
        if rules is None or DataType.EMBEDDINGS not in self._types:
            return
        if any(rule.cls is DataClass.EMBEDDING and "place" in rule.options for rule in rules.fields.values()):
            mask = self._compiled(store, shape, self._types | {rules.data})
            for item in items:
                mask(item)

    def pseudonym(self, kind: str, value: str) -> str:
        """What a value of a kind has become; for whoever checks that it did."""
        return replacement(self.setting, kind, value)

    @property
    def counts(self) -> Mapping[str, int]:
        """Items of the latest `mask` of each set, by store and set."""
        return {where: count for where, count in self._counts.items() if count}

    @property
    def left_out(self) -> Mapping[str, int]:
        """Vectors for whose text nothing is known, by store and set."""
        return {where: count for where, count in self._left_out.items() if count}

    def close(self) -> None:
        """Forget vectors that were kept for other stores."""
        self.setting.shelf.close()

    def _rules(self, store: str, set_name: str) -> SetRules | None:
        return self.registry.rules(store, set_name)

    def _compiled(self, store: str, shape: Shape, types: Collection[DataType]) -> SetMask:
        rules = self._rules(store, shape.set)
        assert rules is not None
        if rules.names:
            return NamedMask(f"{store} {shape.set}", rules, self.forms[store], self.setting, types)
        groups = self._groups.get((store, shape.set))
        return RowMask(rules, shape, self.setting, types, self._row_keys[store], groups)

    def _learn(self, place: Place) -> None:
        rule = place.rule
        if rule is None:
            self._unknown[place.path] = None
            return
        if rule.cls in SWEPT and place.text:
            self.setting.people.add(rule.kind, place.full or place.text)
        elif rule.kind == "integer" and place.text.lstrip("-").isdecimal():
            self.setting.see(rule.domain, int(place.text), INTEGER_BITS.get(place.type, 64))
        elif rule.kind == "aggregate":
            means: Any = self.setting.means.setdefault(rule.domain, Means(self.setting.target.k))
            means.add(place.group, place.text)

    def _classify(self, store: str, shape: Shape, rules: SetRules | None, sample: Sequence[Item]) -> None:
        """Propose what columns without a rule are, and hold what is kept against what is in it."""
        if rules is not None and rules.names:
            return
        known = rules.fields if rules is not None else {}
        only = [c.name for c in shape.columns if c.name not in known or known[c.name].kind == "keep"]
        proposals = Classifier(phones=self.setting.phones).of_set(store, shape, sample, only)
        self._proposals.update({one.place: one for one in proposals})
        self._too_mild += too_mild(self.registry, store, shape, proposals)

    def _finding(self, where: str) -> Finding:
        proposed = [
            one for place, one in self._proposals.items() if place == where or place.startswith(f"{where}.")
        ]
        told = "; ".join(f"{one.place.removeprefix(where).lstrip('.') or 'it'}: {one}" for one in proposed)
        return Finding(
            "masking.unclassified", Severity.REFUSAL,
            f"{where} has no class, so nobody knows what may be copied of it",
            f"enter its class in the masking registry; proposed is {told}" if told else "enter its class in the masking registry",
        )  # fmt: skip

    def _own_ids(self, store: str, shape: Shape, rules: SetRules) -> None:
        unique = {name for group in (shape.key, *rules.unique) for name in group} - rules.references.keys()
        for name in sorted(unique & rules.fields.keys()):
            if rules.fields[name].kind == "integer":
                self._owners.setdefault(rules.fields[name].domain, (store, shape.set, name))

    def _counting(self, store: str, shape: Shape, rules: SetRules) -> Groups | None:
        groups = groups_of(rules, shape, self.setting.target.k) if not rules.names else None
        if groups is not None:
            self._groups[store, shape.set] = groups
        return groups
