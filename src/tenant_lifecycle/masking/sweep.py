"""Looks for every single value of the source in a clone, in whatever spelling: the part of the gate that leaves nothing to trust.

It shares no search with the masking of prose. A text is looked at as words (no case, accents, separators), as letters
and digits without anything between, and as runs of digits; what decodes to another text is decoded and looked at too.
Values are kept in memory only; reports have their digests under a key that is forgotten with the sweep.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import ahocorasick

from tenant_lifecycle.masking.encodings import encoded
from tenant_lifecycle.masking.folding import common_words

#: How often what was decoded is decoded again.
DEPTH = 3
#: Letters and digits below which a value means nothing inside of a text.
SHORTEST, _SHORTEST_DIGITS = 4, 6
#: Letters and digits from which a value is found without anything between them, in the middle of other ones.
_GLUED = 10
#: Accents, once they are apart from their letters, and characters that nobody sees.
_MARKS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u00ad\u200b-\u200f\u2060\ufeff]"
)
_APART = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\+?[0-9](?:[ ()./\-\u00a0]{0,3}[0-9]){6,}")
#: Digits at the end of a phone number that are the same in every way of dialling.
_DIALLED = 9
NAMES = frozenset({"name", "first_name", "last_name"})
TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Hit:
    """A value of the source that stands in a text."""

    kind: str
    #: Its digest under the sweep's own key.
    handle: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    hit: Hit
    #: Not "": only if this word stands in the text with a capital letter.
    capital: str = ""


class Sweep:
    """Learns values, then finds them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._values: dict[tuple[str, str], Hit] = {}
        self._words: dict[str, _Wanted] = {}
        self._glued: dict[str, _Wanted] = {}
        self._runs: dict[str, _Wanted] = {}
        self._whole: dict[str, Hit] = {}
        self._searches: list[ahocorasick.Automaton | None] = []
        #: Values by kind that are too short to be told from anything else.
        self.too_short: Counter[str] = Counter()

    def learn(self, kind: str, value: str) -> Hit | None:
        """A value that must not be found; None: it is too short to look for inside of texts."""
        known = self._values.get((kind, value))
        if known is not None:
            return known
        letters = squeezed(value)
        hit = Hit(
            kind, hmac.digest(self._key, value.encode(errors="surrogatepass"), hashlib.sha256).hex()[:16]
        )
        if len(letters) < (_SHORTEST_DIGITS if letters.isdecimal() else _least(letters)):
            self.too_short[kind] += 1
            self._whole[value] = hit
            return None
        self._values[kind, value] = hit
        self._spell(kind, value, letters, hit)
        return hit

    def _spell(self, kind: str, value: str, letters: str, hit: Hit) -> None:
        words = plain_words(value)
        single = kind in NAMES and " " not in words.strip()
        if not single or words.strip() not in common_words():
            self._words.setdefault(
                words if not _unspaced(letters) else letters, _Wanted(hit, words.strip() if single else "")
            )
        if kind in NAMES:
            self._words.setdefault(f" {letters} ", _Wanted(hit, words.strip() if single else ""))
            for word in words.split()[1:]:
                if len(word) >= SHORTEST and word not in common_words():
                    self._words.setdefault(f" {word} ", _Wanted(hit, word))
        if len(letters) >= _GLUED:
            self._glued.setdefault(letters, _Wanted(hit))
        digits = re.sub(r"\D", "", value)
        if len(digits) >= 7 and 2 * len(digits) > len(letters):
            self._runs.setdefault(digits[-_DIALLED:] if kind == "phone" else digits, _Wanted(hit))

    def seal(self) -> None:
        """No more values: make the searches."""
        self._searches = [_automaton(patterns) for patterns in (self._words, self._glued, self._runs)]

    @property
    def values(self) -> Mapping[tuple[str, str], Hit]:
        """What is looked for, by kind and value."""
        return self._values

    def whole(self, field: str) -> Hit | None:
        """A value that is too short for texts and is all of a field."""
        return self._whole.get(field)

    def look(self, text: str, depth: int = DEPTH, *, single: bool = True) -> set[Hit]:
        """Which values stand in the text; ``single``: also by one word of a person's name alone."""
        words, glued, runs = self._searches
        found = set[Hit]()
        if words is not None:
            found.update(_confirmed(words, plain_words(text), text, single))
        if glued is not None:
            found.update(one.hit for _, one in glued.iter(squeezed(text)))
        if runs is not None:
            for run in _DIGITS.findall(text):
                found.update(one.hit for _, one in runs.iter(re.sub(r"\D", "", run)))
        if depth:
            for _, _, inside in encoded(text):
                found |= self.look(inside, depth - 1, single=single)
        return found


def _confirmed(search: ahocorasick.Automaton, words: str, text: str, single: bool) -> Iterator[Hit]:
    for _, one in search.iter(words):
        if not one.capital or (single and _with_capital(one.capital, text)):
            yield one.hit


def _with_capital(word: str, text: str) -> bool:
    """Whether the folded word stands in the text as a name does."""
    return any(
        token[0].isupper() and plain_words(token).strip() == word
        for token in re.findall(r"[^\W_]+", composed(text))
    )


def composed(text: str) -> str:
    """Letters with their accents as one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _stripped(text: str) -> str:
    """Without case, accents and invisible characters."""
    return text.lower() if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()))


def plain_words(text: str) -> str:
    """Words with one space before, between and behind."""
    return f" {_APART.sub(' ', _stripped(text)).strip()} "


def squeezed(text: str) -> str:
    """Letters and digits and nothing else."""
    return _APART.sub("", _stripped(text))


def _least(letters: str) -> int:
    return 2 if _unspaced(letters) else SHORTEST


def _unspaced(letters: str) -> bool:
    return any("\u0e00" <= c <= "\u0eff" or "\u3040" <= c <= "\u9fff" for c in letters)


def _automaton(patterns: Mapping[str, _Wanted]) -> ahocorasick.Automaton | None:
    if not patterns:
        return None
    automaton = ahocorasick.Automaton()
    for pattern, wanted in patterns.items():
        automaton.add_word(pattern, wanted)
    automaton.make_automaton()
    return automaton
