"""Text as words that compare equal: without case, accents and what stands between words; with the way back."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_WORD = re.compile(r"[^\W_]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


def tidy(text: str) -> str:
    """In composed form and without invisible characters, which only hide names."""
    return text if text.isascii() else _INVISIBLE.sub("", unicodedata.normalize("NFC", text))


@lru_cache(1 << 16)
def folded(word: str) -> str:
    """One word without case and accents."""
    if word.isascii():
        return word.lower()
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


def tokens_of(text: str) -> list[str]:
    """The words of a short text, folded."""
    if text.isascii():
        return _WORD.findall(text.lower())
    return [folded(match) for match in _WORD.findall(tidy(text))]


@dataclass(frozen=True, slots=True)
class Folded:
    """A text's words with one space before, between and behind, and where each stood."""

    text: str
    #: Where each word begins in ``text``, in order.
    starts: list[int]
    #: Where each word begins and ends in the original.
    spans: list[tuple[int, int]]

    @classmethod
    def of(cls, tidied: str) -> Folded:
        """Of a text that `tidy` gave."""
        spans = [match.span() for match in _WORD.finditer(tidied)]
        lowered = tidied.lower() if tidied.isascii() else None
        words = [lowered[a:b] if lowered is not None else folded(tidied[a:b]) for a, b in spans]
        starts, at = [], 1
        for word in words:
            starts.append(at)
            at += len(word) + 1
        return cls(f" {' '.join(words)} ", starts, spans)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that folded positions ``start`` to ``end`` (excluded) stand in, whole words."""
        first = bisect_right(self.starts, start) - 1
        last = bisect_right(self.starts, end - 1) - 1
        return self.spans[max(first, 0)][0], self.spans[last][1]


@lru_cache(1)
def common_words() -> frozenset[str]:
    """Words that are names and everything else as well: alone they name nobody."""
    return frozenset(
        files(__package__).joinpath("data", "common_words.txt").read_text(encoding="utf-8").split()
    )


def unspaced(text: str) -> bool:
    """Whether it is of a script that puts no spaces between words."""
    return not text.isascii() and any(
        "\u0e00" <= c <= "\u0eff" or "\u3040" <= c <= "\u9fff" or c >= "\U00020000" for c in text
    )
