"""Reads every place of an item with its rule: what the first pass learns from, and what the gate knows to look for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tenant_lifecycle.masking.classes import DataClass, Rule
from tenant_lifecycle.masking.compiled import OpenedView, RowView
from tenant_lifecycle.masking.forms import Form
from tenant_lifecycle.masking.pgtext import elements
from tenant_lifecycle.masking.registry import Registry, SetRules
from tenant_lifecycle.masking.setting import Row
from tenant_lifecycle.masking.transformers.persons import full_name
from tenant_lifecycle.masking.walking import leaves
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.shape import Column, Shape

_HALF_NAMES = frozenset({"first_name", "last_name"})


@dataclass(frozen=True, slots=True)
class Place:
    """One text of an item."""

    #: ``postgres documents.meta.source``; without anything of the data.
    path: str
    #: None: the registry does not know the place.
    rule: Rule | None
    text: str
    #: The column's type.
    type: str = ""
    #: A person's whole name where the place has half of it.
    full: str = ""
    #: What an amount is aggregated by.
    group: str | None = None


class Reader:
    """Reads items of all stores by a registry; places that are kept as they are, are left out."""

    def __init__(self, registry: Registry, forms: Mapping[str, Form], tenant: str) -> None:
        """``tenant``: whose items they are; names hold it."""
        self._registry, self._forms, self._tenant = registry, forms, tenant
        self._sets: dict[tuple[str, str, str], Callable[[Item], Iterator[Place]]] = {}

    def places(self, store: str, shape: Shape, item: Item) -> Iterator[Place]:
        """Of one item of a set that has rules."""
        key = (store, shape.set, ",".join(column.name for column in shape.columns))
        if key not in self._sets:
            rules = self._registry.rules(store, shape.set)
            assert rules is not None, "a set without rules is not read"
            self._sets[key] = self._named(store, shape, rules) if rules.names else _rows(store, shape, rules)
        return self._sets[key](item)

    def _named(self, store: str, shape: Shape, rules: SetRules) -> Callable[[Item], Iterator[Place]]:
        where, form = f"{store} {shape.set}", self._forms[store]

        def read(item: Item) -> Iterator[Place]:
            opened = form.opened(item)
            row = OpenedView(opened, {})
            for name, value in opened.names.items():
                if name not in rules.names:
                    yield Place(f"{where}: {name}", None, "")
                elif rules.names[name].read(value, self._tenant) is None:
                    yield Place(f"{where}: a {name} that has not the form {rules.names[name].text}", None, "")
            for name, value in opened.content.items():
                rule = rules.fields.get(name)
                if rule is None:
                    yield Place(f"{where}.{name}", None, "")
                elif rule.kind != "keep":
                    yield from (
                        _place(leaf.path, leaf.rule, leaf.text, "", row)
                        for leaf in leaves(value, rule, f"{where}.{name}")
                    )

        return read


def _rows(store: str, shape: Shape, rules: SetRules) -> Callable[[Item], Iterator[Place]]:
    names = {column.name: place for place, column in enumerate(shape.columns)}
    missing = [c.name for c in shape.columns if not c.generated and c.name not in rules.fields]
    looked = [
        (place, column, rules.fields[column.name])
        for place, column in enumerate(shape.columns)
        if not column.generated and column.name in rules.fields and rules.fields[column.name].kind != "keep"
    ]
    where = f"{store} {shape.set}"

    def read(item: Item) -> Iterator[Place]:
        for name in missing:
            yield Place(f"{where}.{name}", None, "")
        row = RowView(names, item.cells)
        for place, column, rule in looked:
            cell = item.cells[place]
            if cell is not None:
                yield from _of_cell(
                    f"{where}.{column.name}", rule, column, cell.decode("utf-8", "surrogateescape"), row
                )

    return read


def _of_cell(path: str, rule: Rule, column: Column, text: str, row: Row) -> Iterator[Place]:
    if rule.cls is DataClass.JSON:
        for leaf in leaves(text, rule, path):
            yield _place(leaf.path, leaf.rule, leaf.text, "", row)
    elif column.type.endswith("[]") and rule.cls is not DataClass.EMBEDDING:
        for one in elements(text):
            yield _place(path, rule, one, column.type.removesuffix("[]"), row)
    else:
        yield _place(path, rule, text, re.split(r"[ (]", column.type, maxsplit=1)[0], row)


def _place(path: str, rule: Rule | None, text: str, type_: str, row: Row) -> Place:
    if rule is None:
        return Place(path, None, "")
    full = full_name(rule, text, row) if rule.kind in _HALF_NAMES else ""
    group = row.raw(rule.text("by")) if rule.kind == "aggregate" and rule.text("by") else None
    return Place(path, rule, text, type_, full, group)
