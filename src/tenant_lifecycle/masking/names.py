"""Made-up people out of a pinned table: the same name gets the same one, in columns and in prose.

No name of the tenant's own people is ever used: what the gate finds of them is a leak and no coincidence.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from tenant_lifecycle.masking.folding import tokens_of
from tenant_lifecycle.masking.keying import MaskingKey, normal

#: The version of the table; clones say it, so that an upgrade cannot reshuffle people unnoticed.
TABLE = "names-1"
#: With fewer left of the table, names are made of syllables.
_FEWEST = 200
_SYLLABLES = (
    "ba",
    "be",
    "do",
    "fa",
    "ga",
    "he",
    "jo",
    "ka",
    "li",
    "lo",
    "ma",
    "mi",
    "na",
    "no",
    "ra",
    "ri",
    "sa",
    "ta",
    "vi",
    "zo",
)
DOMAIN = "person.name"


@dataclass(frozen=True, slots=True)
class Name:
    """A made-up person."""

    given: str
    family: str

    @property
    def full(self) -> str:
        return f"{self.given} {self.family}"


class Names:
    """The pseudonym of every name; ``taken`` are the folded words of the tenant's own names."""

    def __init__(self, key: MaskingKey, taken: Collection[str]) -> None:
        self._key = key
        given, family = table()
        self._given = _left(given, taken)
        self._family = _left(family, taken)
        self.of = lru_cache(1 << 16)(self._of)

    def _of(self, value: str) -> Name:
        digest = self._key.digest(DOMAIN, normal(value))
        return Name(_chosen(self._given, digest[:8]), _chosen(self._family, digest[8:16]))


@lru_cache(1)
def table() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Given names and family names."""
    text = files(__package__).joinpath("data", f"{TABLE}.txt").read_text(encoding="utf-8")
    given, family = text.removeprefix("[given]\n").split("[family]\n")
    return tuple(given.split()), tuple(family.split())


def _left(names: tuple[str, ...], taken: Collection[str]) -> tuple[str, ...]:
    left = tuple(name for name in names if not taken or tokens_of(name)[0] not in taken)
    if len(left) >= _FEWEST:
        return left
    made = (a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES)
    return tuple(name.capitalize() for name in made if name not in taken)


def _chosen(names: tuple[str, ...], digest: bytes) -> str:
    return names[int.from_bytes(digest, "big") % len(names)]
