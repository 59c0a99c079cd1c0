"""The tenant's own people and secrets, collected from its columns before anything is masked.

What is known here gets the same pseudonym in prose as in its column, and is looked for in the clone afterwards.
It never leaves the process's memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tenant_lifecycle.masking.folding import tokens_of
from tenant_lifecycle.masking.keying import MaskingKey, normal

#: Kinds of transformers whose values are people's names.
NAMES = frozenset({"name", "first_name", "last_name"})


def is_value(kind: str, value: str) -> bool:
    """Whether a text in a column of that kind is one: a column of addresses may also name a part of a program."""
    return bool(value.strip()) and (kind != "email" or "@" in value)


class People:
    """Distinct values by kind, and the numbers of e-mail addresses."""

    def __init__(self, key: MaskingKey) -> None:
        self._key = key
        self._values: dict[str, dict[str, None]] = defaultdict(dict)
        self._numbers: dict[str, int] = {}
        self._variants: dict[str, list[str]] = {}

    def add(self, kind: str, value: str) -> None:
        """One value of a column, as it stands there."""
        if is_value(kind, value):
            self._values[kind][value] = None

    def values(self) -> Iterator[tuple[str, str]]:
        """Kind and value of everything that is known."""
        for kind, values in self._values.items():
            for value in values:
                yield kind, value

    def of(self, *kinds: str) -> Iterator[str]:
        """The values of some kinds."""
        for kind in kinds:
            yield from self._values.get(kind, ())

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def name_words(self) -> frozenset[str]:
        """The folded words of all names: no pseudonym has one of them."""
        return frozenset(word for name in self.of(*NAMES) for word in tokens_of(name))

    def number_emails(self) -> None:
        """Give every known address a number of its own, most of which stay when people come and go.

        A number is the address's keyed digest in a range a hundred times as large as needed; who finds it taken,
        by the order of digests, takes the next.
        """
        self._variants.clear()
        for address in self.of("email"):
            self._variants.setdefault(normal(address), []).append(address)
        for spellings in self._variants.values():
            spellings.sort()
        low = 10_000
        while 9 * low < 100 * len(self._variants):
            low *= 10
        taken: set[int] = set()
        self._numbers.clear()
        for address in sorted(self._variants, key=lambda one: self._key.digest("person.email", one)):
            number = self._key.number("person.email", address, 9 * low)
            while number in taken:
                number = (number + 1) % (9 * low)
            taken.add(number)
            self._numbers[address] = low + number

    def email_user(self, address: str) -> str:
        """``user_12345``; for an address that is in no column, with 18 digits, so that it is nobody else's.

        Addresses that differ in case only get numbers that do: equal for ``lower()``, different for a unique index.
        """
        plain = normal(address)
        number = self._numbers.get(plain)
        if number is None:
            return f"user_{10**17 + self._key.number('person.email', plain, 9 * 10**17)}"
        spellings = self._variants[plain]
        return _cased("user", spellings.index(address) if address in spellings else 0) + f"_{number}"


def _cased(word: str, number: int) -> str:
    return "".join(c.upper() if number >> place & 1 else c for place, c in enumerate(word))
