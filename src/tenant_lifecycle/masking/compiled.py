"""The rules of one set made ready: one function per column, so that a row costs what its masked columns cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.masking.classes import DataClass, DataType, Rule
from tenant_lifecycle.masking.equals import EqualRows
from tenant_lifecycle.masking.forms import Form, Opened
from tenant_lifecycle.masking.kanonymity import Groups, quasi_columns
from tenant_lifecycle.masking.modes import left_empty
from tenant_lifecycle.masking.pgtext import map_array, parse_json, write_json
from tenant_lifecycle.masking.registry import SetRules
from tenant_lifecycle.masking.setting import Row, Setting, Transform
from tenant_lifecycle.masking.transformers import KINDS
from tenant_lifecycle.masking.walking import Change, changed
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.parts import is_part
from tenant_lifecycle.model.backup.shape import Column, Shape

#: Made of other masked columns or fields, so they come last.
DERIVED = frozenset({"embedding", "render", "sha256"})
#: The key of a row of these cells, in the store's form; of a set without a key, which of the equal rows it is.
RowKey = Callable[[Shape, Sequence[Cell], int], bytes]


class SetMask(Protocol):
    """One set made ready."""

    def __call__(self, item: Item) -> Item | None:
        """The clone's item; None: the clone does not have it."""


class RowView:
    """A row while it is masked; columns by name."""

    __slots__ = ("_cells", "_places", "out")

    def __init__(self, places: Mapping[str, int], cells: Sequence[Cell]) -> None:
        self._places, self._cells = places, cells
        self.out: list[Cell] = list(cells)

    def raw(self, name: str) -> str | None:
        place = self._places.get(name)
        return None if place is None else _decoded(self._cells[place])

    def masked(self, name: str) -> str | None:
        place = self._places.get(name)
        return None if place is None else _decoded(self.out[place])


def _decoded(cell: Cell) -> str | None:
    return None if cell is None else cell.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class _Step:
    place: int
    transform: Transform


class RowMask:
    """A table. Generated columns come out empty: their store computes them anew."""

    def __init__(
        self,
        rules: SetRules,
        shape: Shape,
        setting: Setting,
        types: Collection[DataType],
        row_key: RowKey,
        groups: Groups | None,
    ) -> None:
        self._shape, self._row_key, self._groups = shape, row_key, groups
        self._equals = EqualRows()
        self._places = {column.name: place for place, column in enumerate(shape.columns)}
        self._rekey = any(_changes(rules.fields[name]) for name in shape.key)
        self._empty = [place for place, column in enumerate(shape.columns) if column.generated]
        steps = list(_steps(rules, shape, setting, types))
        self._steps = [step for step in steps if not _last(rules, shape, step)]
        self._late = [step for step in steps if _last(rules, shape, step)]

    def __call__(self, item: Item) -> Item | None:
        row = RowView(self._places, item.cells)
        for place in self._empty:
            row.out[place] = None
        for step in self._steps:
            _take(step, row, item)
        if self._groups is not None:
            self._groups.hide(row)
        for step in self._late:
            _take(step, row, item)
        cells = tuple(row.out)
        if not self._shape.key:
            return replace(
                item, key=self._row_key(self._shape, cells, self._equals.number(cells)), cells=cells
            )
        key = self._row_key(self._shape, cells, 0) if self._rekey else item.key
        return replace(item, key=key, cells=cells)


def _take(step: _Step, row: RowView, item: Item) -> None:
    cell = item.cells[step.place]
    if cell is not None:
        new = step.transform(cell.decode("utf-8", "surrogateescape"), row)
        row.out[step.place] = None if new is None else new.encode("utf-8", "surrogateescape")


def coarsening(rules: SetRules, shape: Shape, setting: Setting) -> Callable[[Item], Sequence[Cell]]:
    """A row with the columns that make groups as the clone has them, before small groups are hidden; nothing else."""
    places = quasi_columns(rules, shape) if not rules.names else []
    transforms = {
        place: column_transform(rules.fields[shape.columns[place].name], shape.columns[place], setting)
        for place in places
    }
    names = {column.name: place for place, column in enumerate(shape.columns)}

    def coarse(item: Item) -> Sequence[Cell]:
        row = RowView(names, item.cells)
        for place, transform in transforms.items():
            _take(_Step(place, transform), row, item)
        return row.out

    return coarse


def _changes(rule: Rule) -> bool:
    return rule.kind != "keep"


def _last(rules: SetRules, shape: Shape, step: _Step) -> bool:
    """Whether it is made of other masked columns."""
    return rules.fields[shape.columns[step.place].name].kind in DERIVED


def _steps(rules: SetRules, shape: Shape, setting: Setting, types: Collection[DataType]) -> Iterator[_Step]:
    for place, column in enumerate(shape.columns):
        if column.generated:
            continue
        rule = rules.fields[column.name]
        if (rule.data or rules.data) not in types:
            yield _Step(place, _emptied(column))
        elif _changes(rule):
            yield _Step(place, column_transform(rule, column, setting))


def _emptied(column: Column) -> Transform:
    empty = left_empty(column)
    if column.type.startswith("vector"):
        return lambda value, _row: (
            "[" + ",".join("1" if at == 0 else "0" for at in range(value.count(",") + 1)) + "]"
        )
    return lambda _value, _row: empty


def column_transform(rule: Rule, column: Column, setting: Setting) -> Transform:
    """Of a whole cell: an array element by element, JSON by its rules, everything else at once."""
    if rule.cls is DataClass.JSON or column.type in ("json", "jsonb"):
        return _json_transform(rule, setting, sort=column.type != "json")
    transform = KINDS[rule.kind].make(rule, setting)
    if column.type.endswith("[]") and rule.cls is not DataClass.EMBEDDING:
        return lambda value, row: map_array(value, lambda one: transform(one, row))
    return _unless_empty(transform, column)


def _unless_empty(transform: Transform, column: Column) -> Transform:
    """A kind that gives nothing for a column where something must stand gives the type's emptiest value."""
    empty = left_empty(column)
    if column.nullable or empty is None:
        return transform

    def one(value: str, row: Row) -> str | None:
        new = transform(value, row)
        return empty if new is None else new

    return one


def _json_transform(rule: Rule, setting: Setting, *, sort: bool) -> Transform:
    made = Transforms(setting)
    if rule.kind in ("null", "constant"):
        return KINDS[rule.kind].make(rule, setting)
    return lambda value, row: write_json(changed(parse_json(value), rule, made.change(row)), sort=sort)


class Transforms:
    """Transformers by rule, made once."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._made: dict[int, tuple[Rule, Transform]] = {}

    def change(self, row: Row) -> Change:
        """What changes one text of a row or an item."""
        return lambda rule, text: self._of(rule)(text, row)

    def _of(self, rule: Rule) -> Transform:
        # The rule is kept beside it, so that its address is not another's.
        found = self._made.get(id(rule))
        if found is None:
            found = self._made[id(rule)] = (rule, KINDS[rule.kind].make(rule, self._setting))
        return found[1]


class OpenedView:
    """An item with names while it is masked; ``metadata.document`` is a path, ``id`` a name."""

    __slots__ = ("_masked", "_opened")

    def __init__(self, opened: Opened, masked: Mapping[str, Any]) -> None:
        self._opened, self._masked = opened, masked

    def raw(self, name: str) -> str | None:
        return self._opened.names.get(name) or _at(self._opened.content, name)

    def masked(self, name: str) -> str | None:
        return _at(self._masked, name)


def _at(content: Any, path: str) -> str | None:
    for step in path.split("."):
        if not isinstance(content, Mapping) or step not in content:
            return None
        content = content[step]
    if isinstance(content, bytes):
        return content.decode(errors="replace")
    return None if content is None else _plain_number(content)


def _plain_number(value: Any) -> str:
    """A service that knows only floats says 3.0 for 3."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class NamedMask:
    """A family of keys, vectors or objects. Parts of big items are left out, and what they were part of is empty."""

    def __init__(
        self, store: str, rules: SetRules, form: Form, setting: Setting, types: Collection[DataType]
    ) -> None:
        self._where, self._rules, self._form, self._setting = store, rules, form, setting
        self._left_out = {
            name for name, rule in rules.fields.items() if (rule.data or rules.data) not in types
        }
        self._made = Transforms(setting)

    def __call__(self, item: Item) -> Item | None:
        if is_part(item.key):
            return None
        opened = self._form.opened(item)
        content: dict[str, Any] = {}
        change = self._made.change(OpenedView(opened, content))
        for name in sorted(opened.content, key=self._order):
            content[name] = self._field(name, opened.content[name], change)
            if self._needs_vector(name, content[name]):
                return None
        ordered = {name: content[name] for name in opened.content}
        return self._form.closed(item, Opened(self._names(opened), ordered))

    def _order(self, name: str) -> bool:
        """What is made of other fields comes last."""
        rule = self._rules.fields.get(name)
        return rule is not None and rule.kind in DERIVED

    def _field(self, name: str, value: Any, change: Change) -> Any:
        rule = self._rules.fields.get(name)
        if rule is None:
            raise _unruled(f"{self._where}.{name}")
        if name in self._left_out:
            return None
        return changed(value, rule, change)

    def _needs_vector(self, name: str, value: Any) -> bool:
        """A vector for whose text nothing is known has no place in the clone."""
        rule = self._rules.fields[name]
        return (
            rule.kind == "embedding"
            and name not in self._left_out
            and isinstance(value, Mapping)
            and None in value.values()
        )

    def _names(self, opened: Opened) -> dict[str, str]:
        return {name: self._name(name, value) for name, value in opened.names.items()}

    def _name(self, name: str, value: str) -> str:
        form = self._rules.names.get(name)
        masked = form.masked(value, self._setting) if form is not None else None
        if masked is None:
            raise _unruled(f"{self._where}: the form of a {name}")
        return masked


def _unruled(where: str) -> PreconditionRefused:
    return PreconditionRefused(
        f"{where} has no rule in the masking registry",
        next_step="enter its class; tenantctl clone plan names all of them",
    )
