"""Recognises identifiers in bytes: one pass for all spellings, then what decodes, to a depth of three.

The pass is an Aho-Corasick automaton over the bytes in lower case; what it reports is held against the original,
then its surroundings decide. A spelling in hex, base64 or UTF-16 is only a reason to decode what stands around it
and to look again, so there is one rule of what is a match. Measured by ``bench scan``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ahocorasick

from tenant_lifecycle.model.erasure.boundaries import is_field, stands_alone
from tenant_lifecycle.model.erasure.decoding import (
    Budget,
    Reading,
    View,
    around,
    decode_base64,
    decode_hex,
    views,
)
from tenant_lifecycle.model.erasure.match import Match
from tenant_lifecycle.model.erasure.spellings import Identifier, Spelling, Writing, spellings

#: How often what was decoded is decoded again.
DEPTH = 3
#: What may come out of one value, bytes, all decodings together.
LARGEST = 64 << 20
#: How far around a spelling in hex, base64 or UTF-16 the surroundings are decoded, bytes.
_ROOM = 512
_HEX = frozenset(b"0123456789abcdefABCDEF")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


@dataclass(frozen=True, slots=True)
class _Spot:
    """A plain identifier in a view."""

    identifier: Identifier
    start: int
    end: int
    writing: Writing


class Recogniser:
    """A `Found`. Give every place one of its own (`fresh`): what could not be read is told by `unread`."""

    def __init__(
        self, identifiers: Sequence[Identifier], *, depth: int = DEPTH, largest: int = LARGEST
    ) -> None:
        self._spellings = [spelling for one in identifiers for spelling in spellings(one)]
        self._automaton = _automaton(self._spellings)
        self._depth = depth
        self._largest = largest
        longest = max((len(one.pattern) for one in self._spellings), default=0)
        #: Bytes by which pieces of one value must overlap so that nothing is missed at a joint.
        self.overlap = 6 * longest + 8
        self._reading = Reading(
            margin=6 * max((len(one.text.encode(errors="surrogatepass")) for one in identifiers), default=0)
            + 8,
            short=any(one.short and one.whose is not None for one in identifiers),
            spaces=any(" " in one.text for one in identifiers),
        )
        self._lacking: dict[str, None] = {}

    def fresh(self) -> Recogniser:
        """The same, with nothing unread yet."""
        other = object.__new__(Recogniser)
        other.__dict__.update(self.__dict__)
        other._lacking = {}
        return other

    @property
    def unread(self) -> str:
        """ "" or what was in the bytes and could not be read: damaged or too large; nothing is known of it."""
        return "; ".join(self._lacking)

    def __call__(self, data: bytes) -> Sequence[Match]:
        """Whose identifiers are in the bytes, each once for every way in which it is written there."""
        budget = Budget(self._largest, [])
        matches = dict.fromkeys(self._matches(View(bytes(data)), self._depth, budget))
        self._lacking.update(dict.fromkeys(budget.lacking))
        return tuple(matches)

    def in_pages(self, data: bytes) -> Sequence[Match]:
        """As a call, for pages of a file whose format is read by other means: what looks like a damaged value
        there is none, and counts not as unread."""
        return tuple(dict.fromkeys(self._matches(View(bytes(data)), self._depth, Budget(self._largest, []))))

    def _matches(self, view: View, depth: int, budget: Budget) -> Iterator[Match]:
        if not self._spellings:
            return
        spots, hints = self._spots(view)
        for spot in _owned(spots):
            if spot.identifier.whose is not None:
                encoding = ">".join((*view.path, spot.writing))
                yield Match(spot.identifier.whose, spot.identifier.handle, encoding)
        for spelling, start in hints:
            for other in _decoded_around(view, spelling, start):
                yield from self._matches(other, 0, budget)
        if depth:
            for other in views(view, self._reading, budget):
                yield from self._matches(other, depth - 1, budget)

    def _spots(self, view: View) -> tuple[list[_Spot], list[tuple[Spelling, int]]]:
        """Where identifiers stand plainly, and where something else has to be decoded."""
        spots: list[_Spot] = []
        hints: list[tuple[Spelling, int]] = []
        for last, same in self._automaton.iter(view.data.lower().decode("latin-1")):
            for spelling in same:
                start, end = last + 1 - len(spelling.pattern), last + 1
                if spelling.exact and view.data[start:end] != spelling.pattern:
                    continue
                if spelling.writing not in (Writing.PLAIN, Writing.BYTES):
                    hints.append((spelling, start))
                elif _is_one(view, spelling, start, end):
                    spots.append(_Spot(spelling.identifier, start, end, spelling.writing))
        return spots, hints


def _automaton(all_spellings: Sequence[Spelling]) -> ahocorasick.Automaton:
    by_pattern: dict[bytes, list[Spelling]] = {}
    for spelling in all_spellings:
        by_pattern.setdefault(spelling.pattern.lower(), []).append(spelling)
    automaton = ahocorasick.Automaton()
    for pattern, same in by_pattern.items():
        automaton.add_word(pattern.decode("latin-1"), tuple(same))
    if by_pattern:
        automaton.make_automaton()
    return automaton


def _is_one(view: View, spelling: Spelling, start: int, end: int) -> bool:
    identifier = spelling.identifier
    if spelling.writing is Writing.BYTES or identifier.unmistakable:
        return True
    return is_field(view, start, end) if identifier.short else stands_alone(view, start, end)


def _owned(spots: Sequence[_Spot]) -> Iterator[_Spot]:
    """Without those that are a part of a longer identifier of somebody else.

    What encloses a spot begins at most the longest identifier before its end, so few others are compared even
    where a value names somebody thousands of times.
    """
    by_start = sorted(spots, key=lambda one: one.start)
    starts = [one.start for one in by_start]
    longest = max((one.end - one.start for one in spots), default=0)
    for spot in spots:
        near = by_start[bisect_left(starts, spot.end - longest) : bisect_right(starts, spot.start)]
        inside = any(
            spot.end <= other.end
            and other.end - other.start > spot.end - spot.start
            and other.identifier.whose is not spot.identifier.whose
            for other in near
        )
        if not inside:
            yield spot


def _decoded_around(view: View, spelling: Spelling, start: int) -> Iterator[View]:
    end = start + len(spelling.pattern)
    if spelling.writing is Writing.HEX:
        yield from _decoded_hex(view, start, end)
    elif spelling.writing is Writing.BASE64:
        yield _decoded_base64(view, start, end, spelling.offset)
    else:
        yield _decoded_utf16(view, start, end, spelling)


def _decoded_hex(view: View, start: int, end: int) -> Iterator[View]:
    first, last = _run(view.data, start, end, _HEX)
    odd = (start - first) % 2
    if view.path[-1:] == ("json",) and (odd or view.data[max(0, first - 1) : first].isalnum()):
        return  # Hex behind a ``\x`` was taken for an escape and more; the view before this one has all of it.
    part = around(view, first + odd, last, 0)
    yield View(decode_hex(part.data), (*view.path, "hex"), first <= start - _ROOM, last >= end + _ROOM)


def _decoded_base64(view: View, start: int, end: int, offset: int) -> View:
    first, last = _run(view.data, start, end, _BASE64)
    first += (start - offset - first) % 4
    if first > start - offset:
        # The group begins before the run: what stands there is no base64, so nothing joins the identifier.
        first = start - offset
        text = b"A" * max(0, -first) + view.data[max(0, first) : last]
        text = bytes(one if one in _BASE64 else 0x41 for one in text)
    else:
        text = view.data[first:last]
    return View(decode_base64(text), (*view.path, "base64"), first <= start - _ROOM, last >= end + _ROOM)


def _decoded_utf16(view: View, start: int, end: int, spelling: Spelling) -> View:
    """The surroundings as text of the script at either end; what else the bytes could mean joins nothing."""
    little = spelling.writing is Writing.UTF16_LE
    first, last = max(0, start - _ROOM), min(len(view.data), end + _ROOM)
    before, behind = view.data[first:start], view.data[end:last]
    # Text of the other byte order holds this pattern as well, off by one: half a character is left at an end.
    if len(before) % 2:
        before = before[1:] if little else b"\0" + before
    if len(behind) % 2:
        behind = behind + b"\0" if little and behind[-1] < 0x80 else behind[:-1]
    high = spelling.pattern[int(little) :: 2]
    data = _only(before, {0, high[0]}, little) + spelling.pattern + _only(behind, {0, high[-1]}, little)
    text = data.decode(spelling.writing, "replace")
    return View(
        text.encode(errors="replace"), (*view.path, spelling.writing), first > 0, last < len(view.data)
    )


def _only(data: bytes, high: set[int], little: bool) -> bytes:
    """Characters with one of these high bytes; a space for each of the others."""
    units = zip(data[::2], data[1::2], strict=True)
    return b"".join(bytes(unit) if unit[little] in high else (b" \0" if little else b"\0 ") for unit in units)


def _run(data: bytes, start: int, end: int, alphabet: frozenset[int]) -> tuple[int, int]:
    """How far bytes of the alphabet reach around ``start:end``, at most `_ROOM` to each side."""
    first, last = start, end
    while first > max(0, start - _ROOM) and data[first - 1] in alphabet:
        first -= 1
    while last < min(len(data), end + _ROOM) and data[last] in alphabet:
        last += 1
    return first, last
