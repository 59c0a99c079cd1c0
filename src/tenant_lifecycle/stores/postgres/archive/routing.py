"""Whose a change is: every insert, update and delete becomes ops for the tenants that it concerns.

What a tenant's items are at any moment is what `owned.owned_rows` would find then: a row that changes its tenant is
deleted here and comes there, rows that are owned through it follow, and a shared person comes with the first
membership and goes with the last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Cell,
    Delete,
    Op,
    PatchCell,
    Truncate,
    Unknown,
    Upsert,
)
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.stores.postgres.archive.index import Known, OwnerIndex, Owners
from tenant_lifecycle.stores.postgres.archive.rules import Plain, Rules, TableRule
from tenant_lifecycle.stores.postgres.backup.form import numbered_key, row_key

Patch = Sequence[PatchCell]


class Astray(Exception):
    """A change of which nobody can say whose it is; what is known of the tables is not enough (any more)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A table's rule with the places of its columns in a row, as the stream sends them now."""

    rule: TableRule
    shape: Shape
    key_at: tuple[int, ...]
    ways_at: tuple[tuple[int, ...], ...]
    looks_at: tuple[tuple[int, ...], ...]

    @property
    def set(self) -> str:
        return self.shape.set


def bind(rule: TableRule, shape: Shape) -> Bound:
    """Raises `Astray`: a column that decides is not there (any more)."""
    at = {column.name: place for place, column in enumerate(shape.columns)}
    try:
        return Bound(
            rule,
            shape,
            tuple(at[name] for name in rule.key),
            tuple(tuple(at[name] for name in way.columns) for way in rule.ways),
            tuple(tuple(at[name] for name in look.columns) for look in rule.looks),
        )
    except KeyError as exc:
        raise Astray(f"{rule.name} has no column {exc.args[0]} any more") from exc


class Router:
    """Keeps the index, and gives ops to ``emit`` as (tenant, op). Used by one thread."""

    def __init__(self, rules: Rules, index: OwnerIndex, emit: Callable[[str, Op], None]) -> None:
        self._rules = rules
        self._index = index
        self._emit = emit

    # -- changes

    def insert(self, bound: Bound, cells: Sequence[Cell], *, whole: bool = True) -> None:
        """A new row. ``whole`` is False where only the columns that decide are there (the index's seed)."""
        if not bound.key_at:
            self._count(bound, cells, 1)
            return
        owners, link = self._decide(bound, cells, None)
        key = self._key(bound, cells)
        for owner in owners:
            self._emit(owner, Upsert(bound.set, key, tuple(cells)))
        if bound.rule.indexed:
            self._index_row(bound, None, key, owners, link, cells, whole=whole)

    def update(self, bound: Bound, old: Sequence[Cell] | None, cells: Patch) -> None:
        """``old`` has the old key, or the whole old row; None: the key did not change."""
        if not bound.key_at:
            assert old is not None, "a row without a key comes with the old one"
            self._count(bound, old, -1)
            self._count(bound, _filled(cells, old), 1)
            return
        cells = _key_filled(bound, cells, old)
        key = self._key(bound, cells)
        before = key if old is None else self._key(bound, old)
        if not bound.rule.indexed:
            was = self._decide(bound, cells if old is None else old, None)[0]
            self._moved(bound, was, self._decide(bound, cells, None)[0], before, key, cells)
            return
        known = self._index.get(bound.rule.number, before)
        if known is None:
            raise Astray(f"an update of a row of {bound.set} that is not in the index")
        if known.content is not None:
            cells = _filled(cells, known.content)
        owners, link = self._decide(bound, cells, known)
        self._moved(bound, known.owners, owners, before, key, cells)
        if before != key:
            self._index.drop(bound.rule.number, before)
        self._index_row(bound, known, key, owners, link, cells, before)

    def delete(self, bound: Bound, old: Sequence[Cell]) -> None:
        """``old`` has at least the key."""
        if not bound.key_at:
            self._count(bound, old, -1)
            return
        key = self._key(bound, old)
        if not bound.rule.indexed:
            self._gone(bound, self._decide(bound, old, None)[0], key)
            return
        known = self._index.get(bound.rule.number, key)
        if known is None:
            raise Astray(f"a delete of a row of {bound.set} that is not in the index")
        self._gone(bound, known.owners, key)
        self._index.drop(bound.rule.number, key)
        self._rename(bound, known.named, key, (), (None,) * len(known.named), None)

    def truncate(self, bound: Bound, everybody: Sequence[str]) -> None:
        """``everybody``: tenants who may have rows in it, where the index does not say."""
        rule = bound.rule
        owners = self._index.owners_in(rule.number) if rule.indexed else everybody
        for owner in sorted(owners):
            self._emit(owner, Truncate(bound.set))
        if not rule.indexed:
            return
        for key, known in self._index.rows(rule.number):
            self._index.drop(rule.number, key)
            self._rename(bound, known.named, key, (), (None,) * len(known.named), None)

    # -- rows

    def _key(self, bound: Bound, cells: Patch) -> bytes:
        return row_key([cells[place] for place in bound.key_at])  # type: ignore[misc]

    def _moved(
        self,
        bound: Bound,
        was: Owners,
        now: Owners,
        before: bytes,
        key: bytes,
        cells: Patch,
    ) -> None:
        """Ops of an update for those who had the row, and those who have it."""
        self._gone(bound, [owner for owner in was if owner not in now], before)
        for owner in now:
            if owner in was:
                self._emit(owner, Upsert(bound.set, key, tuple(cells), before if before != key else None))
            elif UNCHANGED in cells:
                self._emit(owner, Unknown(bound.set, key))
            else:
                self._emit(owner, Upsert(bound.set, key, tuple(cells)))

    def _gone(self, bound: Bound, owners: Sequence[str], key: bytes) -> None:
        for owner in owners:
            self._emit(owner, Delete(bound.set, key))

    def _decide(self, bound: Bound, cells: Patch, known: Known | None) -> tuple[Owners, bytes | None]:
        """The owners of a row, and the way that led to them."""
        if bound.rule.always is not None:
            return bound.rule.always, None
        for number, (way, places) in enumerate(zip(bound.rule.ways, bound.ways_at, strict=True)):
            values = [cells[place] for place in places]
            if UNCHANGED in values:
                if known is None:
                    raise Astray(f"an update of {bound.set} came without the columns that decide about it")
                return known.owners, known.link
            value = _value(values, way.plain)
            if value is None:
                continue
            if way.look is None:
                return (value[1:].decode(),), None
            return self._index.owners(way.look, value), bytes([number]) + value
        return (), None

    def _index_row(
        self, bound: Bound, known: Known | None, key: bytes, owners: Owners, link: bytes | None, cells: Patch,
        before: bytes | None = None, *, whole: bool = True,
    ) -> None:  # fmt: skip
        """Write down a row that was inserted (``known`` is None) or changed, and have others follow."""
        rule = bound.rule
        named = tuple(
            self._named(look.plain, [cells[place] for place in places], known, number)
            for number, (look, places) in enumerate(zip(rule.looks, bound.looks_at, strict=True))
        )
        content = self._content(bound, owners, cells) if whole else None
        now = Known(owners, link, named, content)
        if now != known or before != key:
            self._index.put(rule.number, key, now)
        was = known.named if known is not None else (None,) * len(named)
        if rule.looks and (known is None or now.owners != known.owners or named != was or before != key):
            self._rename(bound, was, before or key, owners, named, key)

    @staticmethod
    def _named(plain: Sequence[Plain], values: Patch, known: Known | None, number: int) -> Cell:
        if UNCHANGED in values:
            if known is None:
                raise Astray("an update came without a value that others refer to")
            return known.named[number]
        return _value(values, plain)

    @staticmethod
    def _content(bound: Bound, owners: Owners, cells: Patch) -> tuple[Cell, ...] | None:
        """Kept where somebody may come to own the row who did not see it written."""
        if UNCHANGED in cells or not (bound.rule.kept or (not owners and bound.rule.ways)):
            return None
        return tuple(cells)  # type: ignore[arg-type]

    # -- those who are owned through a row

    def _rename(
        self,
        bound: Bound,
        was: Sequence[Cell],
        before: bytes,
        owners: Owners,
        now: Sequence[Cell],
        key: bytes | None,
    ) -> None:
        """Change what others refer to, and let those follow whose owners it changes."""
        for look, old, new in zip(bound.rule.looks, was, now, strict=True):
            values = {value for value in (old, new) if value is not None}
            owned = {value: self._index.owners(look.number, value) for value in values}
            if old is not None:
                self._index.unname(look.number, old, before)
            if new is not None and key is not None:
                self._index.name(look.number, new, key, owners)
            for value in sorted(values):
                if self._index.owners(look.number, value) != owned[value]:
                    self._follow(look.number, value)

    def _follow(self, look: int, value: bytes) -> None:
        owners = self._index.owners(look, value)
        for rule, way in self._rules.children.get(look, ()):
            for key, known in self._index.linked(rule.number, bytes([way]) + value):
                if known.owners != owners:
                    self._adopt(rule, key, known, owners)

    def _adopt(self, rule: TableRule, key: bytes, known: Known, owners: Owners) -> None:
        """A row that did not change itself has other owners now."""
        for owner in known.owners:
            if owner not in owners:
                self._emit(owner, Delete(rule.set, key))
        for owner in owners:
            if owner in known.owners:
                continue
            whole = known.content
            self._emit(owner, Unknown(rule.set, key) if whole is None else Upsert(rule.set, key, whole))
        content = known.content if rule.kept or not owners else None
        self._index.put(rule.number, key, Known(owners, known.link, known.named, content))
        for look, value in zip(rule.looks, known.named, strict=True):
            if value is not None:
                self._index.name(look.number, value, key, owners)
                self._follow(look.number, value)

    # -- rows without a key

    def _count(self, bound: Bound, cells: Sequence[Cell], change: int) -> None:
        """Equal rows are numbered: one more is the next number, one less the last."""
        owners = self._decide(bound, cells, None)[0]
        digest = hashlib.sha256(row_key(cells)).digest()
        known = self._index.get(bound.rule.number, digest)
        count = int((known.content or (b"0",))[0] or b"0") if known is not None else 0
        if change < 0 and count == 0:
            raise Astray(f"a delete of a row of {bound.set} that is not in the index")
        for owner in owners:
            if change > 0:
                self._emit(owner, Upsert(bound.set, numbered_key(cells, count), tuple(cells)))
            else:
                self._emit(owner, Delete(bound.set, numbered_key(cells, count - 1)))
        if count + change:
            left = (str(count + change).encode(),)
            self._index.put(bound.rule.number, digest, Known(owners, None, (), left))
        else:
            self._index.drop(bound.rule.number, digest)


def _value(values: Patch, plain: Sequence[Plain]) -> bytes | None:
    """Values as one, equal exactly when they are; None if one of them is NULL."""
    if None in values:
        return None
    return row_key(
        [
            one if change is None else change(one)  # type: ignore[arg-type, misc]
            for one, change in zip(values, plain, strict=True)
        ]
    )


def _filled(cells: Patch, old: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(before if cell is UNCHANGED else cell for cell, before in zip(cells, old, strict=True))


def _key_filled(bound: Bound, cells: Patch, old: Sequence[Cell] | None) -> Patch:
    """A key is always sent; with a whole old row, so is everything."""
    if old is not None and UNCHANGED in cells:
        if bound.rule.identity == "f":
            return _filled(cells, old)
        cells = list(cells)
        for place in bound.key_at:
            if cells[place] is UNCHANGED:
                cells[place] = old[place]
    if any(cells[place] is UNCHANGED for place in bound.key_at):
        raise Astray(f"an update of {bound.set} came without its key")
    return cells
