"""Reduces changes to the last state of every row, so that a batch touches each row once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.stores.postgres.feed.layout import Layout
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.feed.record import (
    ADOPT,
    DROP,
    FRESH,
    KNOWN,
    PART,
    PUT,
    REREAD,
    WAS_FRESH,
    Change,
)


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
            if key in rows:
                change = _after(rows[key], change, len(layouts[table].columns))
            rows[key] = change


def _after(before: Change, change: Change, count: int) -> Change:
    """A later change on top of what the batch knows of the row already.

    Whether the target has the row is decided by the row's first change in the batch.
    """
    kind, table, key, row, bits = change
    fresh = before[4] & (FRESH if before[0] == PUT else WAS_FRESH if before[0] == DROP else 0)
    if kind == PUT:
        return (PUT, table, key, row, FRESH if fresh else 0)
    if kind == DROP:
        # What was written here was the tenant's. The one who saw it go may not have known: a driver that began
        # in between read its keys from the source, where the row was gone already.
        known = KNOWN if before[0] in (PUT, PART) else bits & KNOWN
        return (DROP, table, key, row, known | (WAS_FRESH if fresh else 0))
    return _onto(before, change, count) if kind == PART else change


def _onto(before: Change, part: Change, count: int) -> Change:
    """A partial row on top of an earlier state."""
    kind, table, key, old, known = before
    if kind in (DROP, REREAD):
        return (REREAD, table, key, part[3], 0)
    mask = part[4]
    values = split_row(old, count)
    for place, value in enumerate(split_row(part[3], count)):
        if mask >> place & 1:
            values[place] = value
    return (kind, table, key, b"".join(values), known | mask if kind == PART else known)
