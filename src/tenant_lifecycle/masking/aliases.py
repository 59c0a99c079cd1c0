"""In which forms the tenant's people and secrets stand in prose, and what stands there instead.

``Ada Bauer`` is also ``Bauer, Ada``, ``A. Bauer``, ``Bauer``, ``adabauer``; each form becomes that form of the
pseudonym. A single name that is a word as well (``Grace``) is left alone, and so is what is too short to mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenant_lifecycle.masking.classes import Rule
from tenant_lifecycle.masking.folding import common_words, folded, tokens_of, unspaced
from tenant_lifecycle.masking.names import Name
from tenant_lifecycle.masking.people import NAMES
from tenant_lifecycle.masking.setting import Setting
from tenant_lifecycle.masking.text import REMOVED, Alias
from tenant_lifecycle.masking.transformers import KINDS

#: Letters and digits of a value that is looked for in prose.
SHORTEST = 4
#: A name or value itself, then what is derived from a name, then what stands before the @.
_DERIVED, _LOGIN = 1, 2
#: A single name, unless it is written in a script without spaces.
_SHORTEST_NAME = 3
_UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ø": "oe", "å": "aa"}
)


class _Alone:
    """A value without a row."""

    def raw(self, _name: str) -> str | None:
        return None

    def masked(self, _name: str) -> str | None:
        return None


def replacement(setting: Setting, kind: str, text: str) -> str:
    """What a value becomes that was found in prose: the same as in its column."""
    if kind == "uuid":
        return setting.uuids(text) or REMOVED
    found = KINDS[{"secret": "regenerate"}.get(kind, kind)]
    rule = Rule(next(iter(found.classes)), found.name)
    return found.make(rule, setting)(text, _Alone()) or REMOVED


def aliases_of(setting: Setting) -> Iterator[Alias]:
    """Every form of everything that is known, and of the tenant itself."""
    for kind, value in setting.people.values():
        if kind in NAMES:
            yield from _of_name(value, setting.names.of(value))
        elif worth_looking(value) and kind not in ("text", "file_name", "date_shift"):
            yield from _of_value(setting, kind, value)
    target = setting.target
    for text in target.aliases:
        yield Alias(text, target.target_name or f"Clone {target.target}")
    if worth_looking(target.tenant):
        yield Alias(target.tenant, target.target)
    for address in setting.people.of("email"):
        local = address.partition("@")[0]
        if worth_looking(local) and local.casefold() not in common_words():
            yield Alias(local, setting.people.email_user(address), rank=_LOGIN)


def worth_looking(value: str) -> bool:
    """Whether a text that has the value inside means it: it is long enough, and not only a short number."""
    words = "".join(tokens_of(value))
    return len(words) >= (2 if unspaced(value) else 6 if words.isdecimal() else SHORTEST)


def _of_value(setting: Setting, kind: str, value: str) -> Iterator[Alias]:
    instead = replacement(setting, kind, value)
    yield Alias(value, instead)


def _of_name(value: str, instead: Name) -> Iterator[Alias]:
    yield from _of_spelling(value, instead)
    if (ascii_only := value.translate(_UMLAUTS)) != value:
        yield from _of_spelling(ascii_only, instead)


def _of_spelling(value: str, instead: Name) -> Iterator[Alias]:
    words = re.findall(r"[^\W_]+", value)
    if not words:
        return
    first, last = words[0], words[-1]
    if len(words) == 1:
        if unspaced(value):
            yield Alias(value, instead.full)
        else:
            yield from _of_single(value, instead.full)
        return
    yield Alias(value, instead.full)
    yield Alias(f"{value}s", f"{instead.full}s", rank=_DERIVED)
    yield Alias(f"{last} {' '.join(words[:-1])}", f"{instead.family}, {instead.given}", rank=_DERIVED)
    yield Alias(f"{first} {last}", instead.full, rank=_DERIVED)
    yield Alias(f"{last} {first}", f"{instead.family}, {instead.given}", rank=_DERIVED)
    yield Alias(f"{first[0]} {last}", f"{instead.given[0]}. {instead.family}", rank=_DERIVED)
    yield Alias(f"{last} {first[0]}", f"{instead.family}, {instead.given[0]}.", rank=_DERIVED)
    yield Alias(first + last, folded(instead.given + instead.family), rank=_DERIVED)
    if len(last) >= SHORTEST:
        yield Alias(first[0] + last, folded(instead.given[0] + instead.family), rank=_DERIVED)
    yield from _of_single(first, instead.given)
    for family in words[1:]:
        yield from _of_single(family, instead.family)


def _of_single(word: str, instead: str) -> Iterator[Alias]:
    """One word alone is only meant as a name with a capital letter."""
    if len(word) >= _SHORTEST_NAME and folded(word) not in common_words():
        yield Alias(word, instead, capital=True, rank=_DERIVED)
        yield Alias(f"{word}s", f"{instead}s", capital=True, rank=_DERIVED)
