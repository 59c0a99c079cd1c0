"""Masks prose: whole documents, before they are cut into chunks, so that no name is cut in two.

First the tenant's own people and secrets, by every form in which they are known, longest first and with the
pseudonym of their column; then what has a form and a checksum; then whatever a plug-in recognises. A name that may
be several people's becomes ``[person]``: a role and no guess. Encoded stretches with such a thing inside are cut out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import ahocorasick

from tenant_lifecycle.masking.encodings import encoded
from tenant_lifecycle.masking.folding import Folded, tidy, tokens_of, unspaced
from tenant_lifecycle.masking.patterns import Phones, Span, spans

SOMEBODY = "[person]"
REMOVED = "[removed]"
#: What one kind of value becomes; the text as it was found.
Replace = Callable[[str, str], str]
#: An additional recogniser: spans with the kind of transformer that masks them (``name`` for a person).
Recognise = Callable[[str], Iterable[Span]]


@dataclass(frozen=True, slots=True)
class Alias:
    """One form in which something of the tenant's is known."""

    #: As it is written; compared word by word.
    text: str
    #: What stands there instead.
    replacement: str
    #: Whether it is only meant where it begins with a capital letter.
    capital: bool = False
    #: Of aliases with the same words those of the lowest rank count; only among them it may be ambiguous.
    rank: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    replacement: str
    capital: bool


@dataclass(frozen=True, slots=True)
class _Change:
    start: int
    end: int
    text: str


class TextMasker:
    """Masks one text at a time; safe to use from several threads."""

    def __init__(
        self,
        aliases: Iterable[Alias],
        replace: Replace,
        phones: Phones,
        recognisers: Sequence[Recognise] = (),
    ) -> None:
        self._known = _by_words(aliases)
        self._automaton = _automaton(self._known)
        self._replace = replace
        self._phones = phones
        self._recognisers = recognisers

    def __call__(self, text: str) -> str:
        """The text without anybody in it."""
        if not text:
            return text
        tidied = tidy(text)
        changes = [*self._of_people(tidied), *self._of_forms(tidied)]
        return _applied(tidied, changes)

    def mentions(self, text: str) -> bool:
        """Whether somebody or some secret of the tenant stands in it."""
        return any(True for _ in self._of_people(tidy(text)))

    def _of_people(self, text: str) -> Iterator[_Change]:
        if self._known:
            words = Folded.of(text)
            for last, (length, known) in self._automaton.iter(words.text):
                first = last + 1 - length
                start, end = words.original(first + (words.text[first] == " "), last)
                if not known.capital or text[start].isupper():
                    yield _Change(start, end, _in_case(known.replacement, text[start:end]))
        for start, end, inside in encoded(text):
            if self.mentions(inside) or any(True for _ in spans(inside, self._phones)):
                yield _Change(start, end, REMOVED)

    def _of_forms(self, text: str) -> Iterator[_Change]:
        found = list(spans(text, self._phones))
        for recognise in self._recognisers:
            found.extend(recognise(text))
        for span in found:
            written = text[span.start : span.end]
            yield _Change(span.start, span.end, self._replace(span.kind, written))


def _by_words(aliases: Iterable[Alias]) -> dict[str, _Known]:
    """What is meant by each sequence of folded words."""
    known: dict[str, _Known] = {}
    ranks: dict[str, int] = {}
    for alias in sorted(aliases, key=lambda one: one.rank):
        words = tokens_of(alias.text)
        if not words:
            continue
        pattern = words[0] if len(words) == 1 and unspaced(alias.text) else f" {' '.join(words)} "
        before = known.get(pattern)
        if before is None:
            known[pattern], ranks[pattern] = _Known(alias.replacement, alias.capital), alias.rank
        elif before.replacement != alias.replacement and ranks[pattern] == alias.rank:
            known[pattern] = _Known(SOMEBODY, before.capital and alias.capital)
    return known


def _automaton(known: dict[str, _Known]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for pattern, what in known.items():
        automaton.add_word(pattern, (len(pattern), what))
    if known:
        automaton.make_automaton()
    return automaton


def _applied(text: str, changes: list[_Change]) -> str:
    """The longest of overlapping changes wins; of equally long ones the first that was found."""
    if not changes:
        return text
    chosen: list[_Change] = []
    for change in sorted(changes, key=lambda one: one.start - one.end):
        place = bisect_left(chosen, change.start, key=lambda one: one.start)
        free_before = place == 0 or chosen[place - 1].end <= change.start
        if free_before and (place == len(chosen) or change.end <= chosen[place].start):
            chosen.insert(place, change)
    parts, at = [], 0
    for change in chosen:
        parts += [text[at : change.start], change.text]
        at = change.end
    return "".join([*parts, text[at:]])


def _in_case(replacement: str, written: str) -> str:
    """In capitals where the original was, unless it is an address."""
    return (
        replacement.upper()
        if written.isupper() and len(written) > 1 and "@" not in replacement
        else replacement
    )
