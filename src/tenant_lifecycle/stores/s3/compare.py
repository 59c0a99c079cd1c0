"""Comparing a tenant's objects on two sides: both listed at once, merged by key, looked at where a listing does not decide.

Costs, for each object that the listings do not show to differ: a HEAD and a GetObjectTagging on each side, and
a HEAD for each older version that was not seen before; content is read only where checksums do not decide.
Memory holds a page of each side and a batch of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tenant_lifecycle.model.keymap import ResolvedFamily, ResolvedKeys, Treatment
from tenant_lifecycle.model.verification import Difference, DifferenceKind
from tenant_lifecycle.stores.base import Check, Compared, Keys
from tenant_lifecycle.stores.s3.connection import Absent, Changed
from tenant_lifecycle.stores.s3.listing import stack, stacks
from tenant_lifecycle.stores.s3.owned import decode, family_of, named, prefixes
from tenant_lifecycle.stores.s3.sameness import Sides
from tenant_lifecycle.stores.s3.stack import Stack
from tenant_lifecycle.stores.s3.threads import each

#: Keys that are looked at before the driver is asked whether to go on.
BATCH = 200

Pair = tuple[Stack, Stack]


def sets(resolved: ResolvedKeys) -> list[str]:
    """Families whose differences count."""
    return [name for name, family in resolved.families.items() if family.treatment is Treatment.MOVE]


def compare(sides: Sides, resolved: ResolvedKeys, set_name: str, check: Check, *, history: bool) -> Compared:
    """Name the keys of a family that differ on the two sides; reads only."""
    family = resolved.families[set_name]
    items = looked = 0
    suspects: set[bytes] = set()
    pairs = _pairs(sides, resolved, family, history)
    for batch in iter(lambda: list(islice(pairs, BATCH)), []):
        check()
        verdicts = each(lambda pair: _suspect(sides, pair, history), batch)
        suspects |= {pair[0].key.encode() for pair, differs in zip(batch, verdicts, strict=True) if differs}
        items += sum(pair[0].live for pair in batch)
        looked += len(batch)
    return Compared(items, looked, {set_name: frozenset(suspects)} if suspects else {})


def compare_keys(sides: Sides, resolved: ResolvedKeys, keys: Keys, *, history: bool) -> list[Difference]:
    """Look at just these keys, both sides now; those of families that can be made again do not count."""
    wanted = [
        (name, decode(sides.source.store, key))
        for name, some in keys.items()
        if name in resolved.families and resolved.families[name].treatment is Treatment.MOVE
        for key in sorted(some)
    ]
    owned = [(name, key) for name, key in wanted if family_of(resolved, key) is not None]
    found = each(lambda pair: _difference(sides, *pair, history=history), owned)
    return [one for one in found if one is not None]


def _difference(sides: Sides, name: str, key: str, *, history: bool) -> Difference | None:
    try:
        mine, theirs = sides.both(
            lambda: stack(sides.source, key, history=history),
            lambda: stack(sides.target, key, history=history),
        )
        kind, fields = _verdict(sides, mine, theirs, history)
    except (Absent, Changed):
        # Overwritten or deleted while we looked.
        kind, fields = DifferenceKind.DIFFERENT, ("changing",)
    return None if kind is None else Difference(name, key.encode(), key, kind, fields)


def _suspect(sides: Sides, pair: Pair, history: bool) -> bool:
    try:
        return _verdict(sides, *pair, history)[0] is not None
    except (Absent, Changed):
        return True


def _verdict(
    sides: Sides, mine: Stack, theirs: Stack, history: bool
) -> tuple[DifferenceKind | None, tuple[str, ...]]:
    if mine.live and not theirs.live:
        return DifferenceKind.MISSING, ()
    if theirs.live and not mine.live:
        return DifferenceKind.EXTRA, ()
    fields = sides.differing_stacks(mine, theirs, history=history)
    return (DifferenceKind.DIFFERENT if fields else None), fields


def _pairs(sides: Sides, resolved: ResolvedKeys, family: ResolvedFamily, history: bool) -> Iterator[Pair]:
    """Every key of the family that one side or the other has, with what both have under it."""
    for prefix in prefixes(family):
        here = _mine(resolved, family, stacks(sides.source, prefix, history=history))
        there = _mine(resolved, family, stacks(sides.target, prefix, history=history))
        yield from _merged(here, there, sides)
    whole = (key for key in named(family) if family_of(resolved, key) == family.name)
    for batch in iter(lambda: list(islice(whole, BATCH)), []):
        here_all = each(lambda key: stack(sides.source, key, history=history), batch)
        there_all = each(lambda key: stack(sides.target, key, history=history), batch)
        yield from zip(here_all, there_all, strict=True)


def _mine(resolved: ResolvedKeys, family: ResolvedFamily, found: Iterable[Stack]) -> Iterator[Stack]:
    return (one for one in found if family_of(resolved, one.key) == family.name)


def _merged(here: Iterator[Stack], there: Iterator[Stack], sides: Sides) -> Iterator[Pair]:
    """Merge by key; both services list in the order of UTF-8 bytes, which is that of code points."""
    mine, theirs = sides.both(lambda: next(here, None), lambda: next(there, None))
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine.key < theirs.key):
            assert mine is not None
            yield mine, Stack(mine.key)
            mine = next(here, None)
        elif mine is None or theirs.key < mine.key:
            yield Stack(theirs.key), theirs
            theirs = next(there, None)
        else:
            yield mine, theirs
            mine, theirs = next(here, None), next(there, None)
