"""Reduces changes to the last state of every row, so that a batch touches each row once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.record import ADOPT, DROP, PART, PUT, REREAD, Change


@dataclass(slots=True)
class Batch:
    """What a batch does to the target, by the number of the table."""

    #: Last change of every key: PUT, DROP, PART or REREAD.
    states: dict[int, dict[bytes, Change]] = field(default_factory=dict)
    #: Tables without a key: how many copies of a row are to be added (or, below zero, removed).
    copies: dict[int, Counter[bytes]] = field(default_factory=dict)
    #: Parent rows whose children have to be looked for.
    adopts: list[Change] = field(default_factory=list)


def collapse(
    layouts: Sequence[Layout],
    changes: Iterable[Change],
    batch: Batch,
    committed: int,
    copied_until: Mapping[int, int],
) -> None:
    """Add the changes of one transaction, committed at that position, to a batch.

    ``copied_until``: for tables without a key, the position from which on changes are not in the copy.
    """
    states = batch.states
    for change in changes:
        kind, table, key, row, _ = change
        if kind == ADOPT:
            batch.adopts.append(change)
        elif not key:
            if committed >= copied_until.get(table, 0):
                copies = batch.copies.get(table)
                if copies is None:
                    copies = batch.copies[table] = Counter()
                copies[row] += 1 if kind == PUT else -1
        else:
            rows = states.get(table)
            if rows is None:
                rows = states[table] = {}
            if kind == PART and key in rows:
                change = _onto(rows[key], change, len(layouts[table].columns))
            rows[key] = change


def _onto(before: Change, part: Change, count: int) -> Change:
    """A partial row on top of what the batch knows of the row already."""
    kind, table, key, old, known = before
    if kind in (DROP, REREAD):
        return (REREAD, table, key, part[3], 0)
    mask = part[4]
    values = split_row(old, count)
    for place, value in enumerate(split_row(part[3], count)):
        if mask >> place & 1:
            values[place] = value
    return (kind, table, key, b"".join(values), known | mask if kind == PART else 0)
