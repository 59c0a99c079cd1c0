"""What must hold of a clone whatever is in it: keys unique, references closed, nothing that reaches the world."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.masking.patterns import Phones, Span, is_iban, spans
from tenant_lifecycle.masking.registry import Registry, SetRules
from tenant_lifecycle.masking.setting import Target, is_reserved
from tenant_lifecycle.masking.transformers.accounts import ALL_TEST_CARDS, NO_COUNTRY
from tenant_lifecycle.masking.transformers.contact import is_fiction
from tenant_lifecycle.masking.transformers.network import is_documentation
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.shape import Shape

#: Columns of these types hold no text.
NO_TEXT = (
    "uuid",
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double",
    "boolean",
    "date",
    "time",
    "interval",
    "vector",
)
#: What these kinds make has no form that means anything.
OPAQUE = frozenset(
    {
        "uuid",
        "integer",
        "opaque",
        "regenerate",
        "embedding",
        "billing",
        "card_token",
        "login",
        "national_id",
        "sha256",
    }
)


@dataclass
class Rows:
    """Keys and references of one side, as digests of 64 bits."""

    counts: Counter[str] = field(default_factory=Counter)
    doubles: Counter[str] = field(default_factory=Counter)
    _seen: dict[str, set[int]] = field(default_factory=dict)
    _wanted: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, store: str, shape: Shape, rules: SetRules, item: Item) -> None:
        """Count an item; a row's unique groups and references too."""
        where = f"{store} {shape.set.removeprefix('public.')}"
        self.counts[where] += 1
        if rules.names:
            self._unique(f"{where} (key)", item.key)
            return
        places = {column.name: place for place, column in enumerate(shape.columns)}
        for group in filter(None, (shape.key, *rules.unique)):
            cells = [item.cells[places[name]] for name in group]
            if None not in cells:
                self._unique(f"{where} ({', '.join(group)})", *cells)
        for column, target in rules.references.items():
            cell = item.cells[places[column]]
            if cell is not None:
                self._wanted.setdefault(f"{where}.{column} > {store} {target}", Counter())[_digest(cell)] += 1
        for name in _referred(rules, shape):
            self._seen.setdefault(f"{where}.{name}", set()).add(_digest(item.cells[places[name]]))

    def _unique(self, group: str, *cells: Cell) -> None:
        seen, digest = self._seen.setdefault(group, set()), _digest(*cells)
        self.doubles[group] += digest in seen
        seen.add(digest)

    def dangling(self) -> dict[str, int]:
        """References that lead nowhere, by column; of those whose target was counted."""
        found: dict[str, int] = {}
        for reference, wanted in self._wanted.items():
            known = self._seen.get(reference.partition(" > ")[2], set())
            found[reference] = sum(count for digest, count in wanted.items() if digest not in known)
        return found


def _referred(rules: SetRules, shape: Shape) -> Sequence[str]:
    """Columns that others may refer to: of the key, and unique ones."""
    return tuple(
        dict.fromkeys(name for group in (shape.key, *rules.unique) for name in group if name in rules.fields)
    )


def _digest(*cells: Cell) -> int:
    joined = b"".join(b"\xff" if cell is None else len(cell).to_bytes(8, "big") + cell for cell in cells)
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class Detected:
    """Something with a form of its own that no transformer of ours makes."""

    kind: str
    where: str


class Detectors:
    """The checksummed patterns, run over what came out: only made-up things may be there."""

    def __init__(self, target: Target, embedded_hosts: Sequence[str] = ()) -> None:
        self._phones = Phones(target.phone_regions)
        self._mail_host = target.mail_host.casefold()
        self._hosts = tuple(host.casefold() for host in embedded_hosts)
        self._allowed: Mapping[str, Callable[[str], bool]] = {
            "email": lambda text: text.rpartition("@")[2].casefold() == self._mail_host,
            "card": lambda text: "".join(filter(str.isdigit, text)) in ALL_TEST_CARDS,
            "iban": lambda text: _made_up(text),
            "phone": lambda text: is_fiction(self._phones.number(text) or ""),
            "ip": is_documentation,
            "mac": lambda text: int(text[:2], 16) & 2 == 2,
            "url": _reserved,
            "uuid": lambda _text: True,
            "secret": lambda text: text.startswith("stg"),
        }

    def look(self, text: str) -> Iterator[Span]:
        """What may not be there."""
        for span in spans(text, self._phones):
            allowed = self._allowed.get(span.kind)
            if allowed is None or not allowed(text[span.start : span.end]):
                yield span

    def hosts(self, text: str) -> list[str]:
        """Hosts of production that the text names."""
        lowered = text.casefold()
        return [host for host in self._hosts if host in lowered]


def _made_up(text: str) -> bool:
    compact = "".join(text.split()).upper()
    return is_iban(compact) and (compact[:2] == NO_COUNTRY or compact[4:9] == "00000")


def _reserved(text: str) -> bool:
    host = text.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2].partition(":")[0]
    return is_reserved(host)


def has_text(registry: Registry, store: str, shape: Shape) -> list[int]:
    """Places of the columns in which the detectors look."""
    rules = registry.rules(store, shape.set)
    return [
        place
        for place, column in enumerate(shape.columns)
        if not column.generated and not column.type.startswith(NO_TEXT)
        and (rules is None or (rule := rules.fields.get(column.name)) is None or rule.kind not in OPAQUE)
    ]  # fmt: skip
