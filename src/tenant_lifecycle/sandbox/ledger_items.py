"""The ledger against items: what may be under a key, given all that was acknowledged and all that was not.

A store beside the database has no transactions with it: a write that was sent and not committed may have left
its items or not. So a key has a list of states that it may be in; an acknowledged write makes it one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from tenant_lifecycle.sandbox.items import ITEMS, REPEATED, ItemReader, Key, Values
from tenant_lifecycle.sandbox.ledger import Do, Effect, Entry, Outcome
from tenant_lifecycle.sandbox.verdict import Violation, Wrong

Place = tuple[str, Key]
_BATCH = 1000


@dataclass
class _Item:
    """What may be at one place."""

    #: None: nothing.
    states: list[Values | None] = field(default_factory=lambda: [None])
    #: How many items there may be, when there is one.
    most: int = 1
    #: Whether any committed write ever put it there.
    ever: bool = False


@dataclass
class _Number:
    """What a counter may be."""

    least: int = 0
    most: int = 0


@dataclass
class _Expected:
    items: dict[Place, _Item] = field(default_factory=dict)
    numbers: dict[Place, _Number] = field(default_factory=dict)


def check_items(
    entries: Iterable[tuple[Entry, bool]], readers: Mapping[str, ItemReader]
) -> tuple[int, list[Violation]]:
    """How many items and numbers were looked at, and what is wrong with them.

    Every entry comes with whether it is committed, in the order in which its writer made it.

    Raises:
        ValueError: an entry speaks of a kind of items that has no reader.
    """
    expected = _Expected()
    for entry, committed in entries:
        for effect in entry.effects:
            if effect.table in ITEMS:
                _expect(expected, entry, committed, effect)
    wrong: list[Violation] = []
    places = [*expected.items, *expected.numbers]
    for kind in sorted({kind for kind, _ in places}):
        if kind not in readers:
            raise ValueError(f"the ledger speaks of {kind}, and nothing was given to read it")
        keys = iter(key for name, key in places if name == kind)
        while some := list(islice(keys, _BATCH)):
            found = readers[kind](some)
            for key in some:
                wrong += _judge(expected, (kind, key), found.get(key, []))
    return len(places), wrong


def _expect(expected: _Expected, entry: Entry, committed: bool, effect: Effect) -> None:
    place = effect.table, tuple(effect.key[part] for part in ITEMS[effect.table])
    sent = committed or entry.outcome is Outcome.UNKNOWN
    if effect.do is Do.ADD:
        number = expected.numbers.setdefault(place, _Number())
        number.least += effect.count if committed else 0
        number.most += effect.count * entry.attempts if sent else 0
        return
    item = expected.items.setdefault(place, _Item())
    after: list[Values | None] = [None if effect.do is Do.GONE else effect.values]
    if effect.do is Do.MAY:
        after.append(None)
    if effect.table in REPEATED:
        item.most = max(item.most, entry.attempts)
    if committed:
        item.states, item.ever = after, True
    elif sent:
        item.states += after


def _judge(expected: _Expected, place: Place, found: list[Values]) -> Iterator[Violation]:
    kind, key = place
    if place in expected.numbers:
        number, actual = expected.numbers[place], int(str(found[0]["value"])) if found else 0
        if not number.least <= actual <= number.most:
            wrong = Wrong.LOST if actual < number.least else Wrong.DUPLICATED
            yield Violation(wrong, kind, key, f"{actual} instead of {number.least}")
        return
    item = expected.items[place]
    states = [state for state in item.states if state is not None]
    if not found:
        if None not in item.states:
            yield Violation(Wrong.LOST, kind, key, "not there")
    elif not states:
        detail = "deleted, but there" if item.ever else "never committed, but there"
        yield Violation(Wrong.RESURRECTED if item.ever else Wrong.PHANTOM, kind, key, detail)
    elif len(found) > item.most:
        yield Violation(Wrong.DUPLICATED, kind, key, f"{len(found)} items")
    else:
        for one in found:
            differing = [_differing(state, one) for state in states]
            if all(differing):
                yield Violation(Wrong.STALE, kind, key, f"differs in {', '.join(differing[-1])}")


def _differing(state: Values, found: Values) -> list[str]:
    return [name for name, value in state.items() if found.get(name) != value]
