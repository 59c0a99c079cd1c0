"""Proposes what a place is: by its name, by what its values look like, and by whose values they are.

A proposal is for people to review; nothing is masked by one. What the data itself shows (checksums, overlap with the
tenant's own people) also speaks against a registry that is too mild: `too_mild` names those places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.masking.classes import STRICTNESS, DataClass
from tenant_lifecycle.masking.patterns import (
    CARD,
    EMAIL,
    IBAN,
    IPV4,
    IPV6,
    MAC,
    NATIONAL_ID,
    SECRET,
    URL,
    UUID,
    Detector,
    Phones,
)
from tenant_lifecycle.masking.pgtext import Literal, elements, parse_json
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking.sweep import plain_words
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.findings import Finding, Severity

#: Values of a place that are looked at.
SAMPLE = 500
#: From here the data itself is evidence that a reviewer has to answer.
CERTAIN = 0.9


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a place probably is."""

    #: ``postgres public.users.email``, ``postgres public.documents.meta.source``.
    place: str
    cls: DataClass
    kind: str
    #: From 0 to 1; above `CERTAIN` only where values show it.
    confidence: float
    #: For people, without a value: ``97 of 100 values are e-mail addresses``.
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        """As it would stand in the registry, and why."""
        rule = (
            self.cls.value if self.kind in ("keep", "text") else f"{{class: {self.cls}, kind: {self.kind}}}"
        )
        return f"{rule} ({', '.join(self.evidence)})"


@dataclass(frozen=True, slots=True)
class _Named:
    form: re.Pattern[str]
    cls: DataClass
    kind: str


def _named(form: str, cls: DataClass, kind: str) -> _Named:
    return _Named(re.compile(rf"(?:^|_)(?:{form})(?:$|_|\d)"), cls, kind)


#: By what columns are usually called; the first that fits.
_NAMES: Sequence[_Named] = (
    _named("e_?mail|mail_?addr(?:ess)?", DataClass.DIRECT, "email"),
    _named("password|passwd|secret|token|api_?key|private_?key|credential|hash|salt|otp|pin", DataClass.SECRET, "regenerate"),
    _named("full_?name|display_?name|person|contact_?name|author|owner_?name|assignee", DataClass.DIRECT, "name"),
    _named("first_?name|given_?name|forename", DataClass.DIRECT, "first_name"),
    _named("last_?name|family_?name|surname", DataClass.DIRECT, "last_name"),
    _named("user_?name|login|nick(?:name)?|handle", DataClass.DIRECT, "login"),
    _named("phone|mobile|fax|tel|msisdn|whatsapp", DataClass.DIRECT, "phone"),
    _named("street|address|addr", DataClass.DIRECT, "address"),
    _named("ssn|tax_?id|passport|national_?id|nino|aadhaar|curp|cpf", DataClass.DIRECT, "national_id"),
    _named("iban", DataClass.ACCOUNT, "iban"),
    _named("card|pan|cc_?number", DataClass.ACCOUNT, "card"),
    _named("account_?(?:no|number)|bic|routing", DataClass.ACCOUNT, "account"),
    _named("stripe|billing|subscription|customer", DataClass.SIDE_EFFECT, "billing"),
    _named("webhook|callback|smtp|endpoint|url|uri|href|link", DataClass.SIDE_EFFECT, "sink"),
    _named("birth|dob|birthday", DataClass.QUASI, "year"),
    _named("zip|postal|postcode", DataClass.QUASI, "prefix"),
    _named("job|title_?of_?person|gender|sex|nationality|religion|ethnicity", DataClass.QUASI, "category"),
    _named("ip|ip_?addr(?:ess)?|remote_?addr", DataClass.QUASI, "ip"),
    _named("embedding|vector", DataClass.EMBEDDING, "embedding"),
    _named("tenant|tenant_?id|org_?id|workspace_?id", DataClass.TENANT_ID, "tenant"),
    _named("user_?id|person_?id|member_?id|author_?id|owner_?id|subject_?id|created_by|updated_by", DataClass.SUBJECT_ID, "uuid"),
    _named("file_?name|path|object|filename|source", DataClass.FREE_TEXT, "file_name"),
    _named("body|content|text|comment|note|notes|description|title|summary|message|prompt|answer|question|query|reason|label|tags?|subject",
           DataClass.FREE_TEXT, "text"),
)  # fmt: skip

#: By what a value is, all of it: words for people, the test, class and kind.
_VALUES: Sequence[tuple[str, Detector, DataClass, str]] = (
    ("e-mail addresses", EMAIL, DataClass.DIRECT, "email"),
    ("cards with a right check digit", CARD, DataClass.ACCOUNT, "card"),
    ("IBANs with right check digits", IBAN, DataClass.ACCOUNT, "iban"),
    ("national ids with a right check digit", NATIONAL_ID, DataClass.DIRECT, "national_id"),
    ("keys and tokens", SECRET, DataClass.SECRET, "regenerate"),
    ("addresses of hosts", IPV4, DataClass.QUASI, "ip"),
    ("addresses of hosts", IPV6, DataClass.QUASI, "ip"),
    ("addresses of network cards", MAC, DataClass.QUASI, "mac"),
    ("URLs", URL, DataClass.SIDE_EFFECT, "sink"),
    ("UUIDs", UUID, DataClass.IDENTIFIER, "uuid"),
)
_PLAIN_TYPES = (
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double",
    "boolean",
    "timestamp",
    "date",
    "time",
    "interval",
)


class Classifier:
    """Looks at samples of a tenant's items; ``people`` are names and other values that are known to be people's."""

    def __init__(self, people: Iterable[str] = (), phones: Phones = Phones()) -> None:
        self._people = frozenset(plain_words(one) for one in people if len(one) > 3)
        self._phones = phones

    def of_set(
        self, store: str, shape: Shape, items: Iterable[Item], only: Collection[str] | None = None
    ) -> list[Proposal]:
        """For every column (or ``only`` these), and every path of a JSON column that the sample has."""
        samples: dict[str, list[str]] = defaultdict(list)
        columns = {
            column.name: column
            for column in shape.columns
            if not column.generated and (only is None or column.name in only)
        }
        for _, item in zip(range(SAMPLE), items, strict=False):
            for column, cell in zip(shape.columns, item.cells, strict=True):
                if cell is not None and column.name in columns:
                    for path, text in _texts(column, cell.decode("utf-8", "replace")):
                        samples[path].append(text)
        found = []
        for name, column in columns.items():
            paths = [path for path in samples if path == name or path.startswith(f"{name}.")] or [name]
            found += [
                self._propose(f"{store} {shape.set}.{path}", path, column, samples.get(path, []))
                for path in sorted(paths)
            ]
        return found

    def _propose(self, place: str, path: str, column: Column, values: list[str]) -> Proposal:
        shown = self._by_values(values)
        name = path.rpartition(".")[2]
        called = next((one for one in _NAMES if one.form.search(_snake(name))), None)
        if shown is not None and (shown[2] >= CERTAIN or called is None):
            return Proposal(place, shown[0], shown[1], shown[2], (shown[3],))
        if called is not None and not (
            column.type.startswith(_PLAIN_TYPES) and called.cls is DataClass.FREE_TEXT
        ):
            return Proposal(place, called.cls, called.kind, 0.7, (f"is called {name}",))
        return self._by_type(place, column, values)

    def _by_values(self, values: list[str]) -> tuple[DataClass, str, float, str] | None:
        """What more than half of the values are."""
        if not values:
            return None
        counts: Counter[int] = Counter()
        for value in values:
            counts.update(at for at, (_, detector, _, _) in enumerate(_VALUES) if _is_all(detector, value))
        if counts:
            at, count = counts.most_common(1)[0]
            words, _, cls, kind = _VALUES[at]
            if 2 * count > len(values):
                return cls, kind, count / len(values), f"{count} of {len(values)} values are {words}"
        for said, test, cls, kind in self._tests():
            count = sum(map(test, values))
            if 2 * count > len(values):
                return cls, kind, count / len(values), f"{count} of {len(values)} values {said}"
        return None

    def _tests(self) -> Sequence[tuple[str, Callable[[str], bool], DataClass, str]]:
        return (
            (
                "are the tenant's own people",
                lambda value: plain_words(value) in self._people,
                DataClass.DIRECT,
                "name",
            ),
            (
                "are phone numbers",
                lambda value: self._phones.number(value) is not None,
                DataClass.DIRECT,
                "phone",
            ),
        )

    def _by_type(self, place: str, column: Column, values: list[str]) -> Proposal:
        base = column.type.split("(")[0]
        if base == "uuid":
            return Proposal(place, DataClass.IDENTIFIER, "uuid", 0.8, ("is a UUID",))
        if base == "bytea":
            return Proposal(place, DataClass.BINARY, "drop", 0.6, ("holds bytes",))
        if base.startswith("vector"):
            return Proposal(place, DataClass.EMBEDDING, "embedding", 0.9, ("is a vector",))
        if base.startswith(_PLAIN_TYPES) or (values and all(isinstance(value, Literal) for value in values)):
            return Proposal(place, DataClass.STRUCTURAL, "keep", 0.5, (f"is {column.type}",))
        distinct = len(set(values))
        if (
            values
            and distinct <= 12
            and len(values) >= 50
            and all(len(value) <= 20 and " " not in value for value in values)
        ):
            return Proposal(
                place, DataClass.PUBLIC, "keep", 0.5, (f"{distinct} different short values in {len(values)}",)
            )
        return Proposal(
            place, DataClass.FREE_TEXT, "text", 0.4, ("is text, and nothing says that it names nobody",)
        )


def too_mild(registry: Registry, store: str, shape: Shape, proposals: Iterable[Proposal]) -> list[Finding]:
    """Columns that the registry keeps more of than their values allow."""
    rules = registry.rules(store, shape.set)
    if rules is None:
        return []
    found = []
    for one in proposals:
        rule = rules.fields.get(one.place.removeprefix(f"{store} {shape.set}."))
        if (
            rule is not None
            and one.confidence >= CERTAIN
            and STRICTNESS[rule.cls] < STRICTNESS[one.cls]
            and rule.kind == "keep"
        ):
            found.append(_too_mild(one, rule.cls))
    return found


def _too_mild(proposal: Proposal, said: DataClass) -> Finding:
    return Finding(
        "masking.too-mild", Severity.REFUSAL,
        f"{proposal.place} is {said} in the registry, and {proposal.evidence[0]}",
        f"give it the class {proposal.cls}, or a stricter one",
    )  # fmt: skip


def _texts(column: Column, text: str) -> Iterable[tuple[str, str]]:
    """Path and text of everything in a cell."""
    if column.type in ("json", "jsonb"):
        try:
            return list(_leaves(column.name, parse_json(text)))
        except ValueError:
            return [(column.name, text)]
    if column.type.endswith("[]"):
        return [(column.name, one) for one in elements(text)]
    return [(column.name, text)]


def _leaves(path: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(f"{path}.{key}", one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(path, one)
    elif isinstance(value, str):
        yield path, value


def _is_all(detector: Detector, value: str) -> bool:
    """Whether the value is one such thing and nothing else."""
    span = next(iter(detector.spans(value.strip())), None)
    return span is not None and span.start == 0 and span.end == len(value.strip())


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").replace(" ", "_").lower()
