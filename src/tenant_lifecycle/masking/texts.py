"""Everything of an item that can be read, whatever a registry says of it: what the gate looks at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.masking.classes import DataClass
from tenant_lifecycle.masking.forms import Form
from tenant_lifecycle.masking.registry import Registry, SetRules
from tenant_lifecycle.masking.structure import OPAQUE, has_text
from tenant_lifecycle.masking.walking import as_text
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import is_part
from tenant_lifecycle.model.backup.shape import Shape


@dataclass(frozen=True, slots=True)
class Field:
    """One text of an item."""

    name: str
    text: str
    #: Whether the registry keeps it as it is.
    kept: bool
    #: Whether what has a form in it means something: it is no id of ours.
    formed: bool
    #: False: bytes that are no text.
    readable: bool = True
    #: Whether the registry says that it is a tenant's id.
    tenant: bool = False


class Texts:
    """Reads items of all stores."""

    def __init__(self, registry: Registry, forms: Mapping[str, Form], tenant: str) -> None:
        """``tenant``: the source, whose id may stand in names."""
        self._registry, self._forms, self._tenant = registry, forms, tenant
        self._formed: dict[tuple[str, Shape], list[int]] = {}

    @staticmethod
    def whole(items: Iterable[Item]) -> Iterator[Item]:
        """Items without the parts of big ones."""
        return (item for item in items if not is_part(item.key))

    def fields(self, store: str, shape: Shape, item: Item) -> Iterator[Field]:
        """Columns that hold no vectors; names, and everything in the content, also keys."""
        rules = self._registry.rules(store, shape.set)
        assert rules is not None
        if rules.names:
            yield from self._named(store, rules, item)
            return
        formed = self._formed.setdefault((store, shape), has_text(self._registry, store, shape))
        for place, column in enumerate(shape.columns):
            cell = item.cells[place]
            rule = rules.fields.get(column.name)
            if cell is not None and (rule is None or rule.cls is not DataClass.EMBEDDING):
                kept = rule is not None and rule.kind == "keep"
                told = rule is not None and rule.cls is DataClass.TENANT_ID
                yield Field(column.name, cell.decode("utf-8", "replace"), kept, place in formed, tenant=told)

    def _named(self, store: str, rules: SetRules, item: Item) -> Iterator[Field]:
        opened = self._forms[store].opened(item)
        for name, text in opened.names.items():
            yield Field(name, text, False, False)
            form = rules.names.get(name)
            if form is not None and ("tenant", "tenant") in form.holes() and form.read(text, self._tenant):
                yield Field(name, self._tenant, False, False, tenant=True)
        for name, value in opened.content.items():
            rule = rules.fields.get(name)
            if rule is None or rule.cls is not DataClass.EMBEDDING:
                kept = rule is not None and rule.kind == "keep"
                formed = rule is None or rule.kind not in OPAQUE
                yield from _inside(name, value, kept, formed)

    def vectors(self, store: str, shape: Shape, item: Item) -> Iterator[Sequence[float]]:
        """Every vector of an item."""
        rules = self._registry.rules(store, shape.set)
        assert rules is not None
        if rules.names:
            if any(rule.cls is DataClass.EMBEDDING for rule in rules.fields.values()):
                yield from (self._forms[store].opened(item).content.get("vectors") or {}).values()
            return
        for place, column in enumerate(shape.columns):
            rule, cell = rules.fields.get(column.name), item.cells[place]
            if rule is not None and rule.cls is DataClass.EMBEDDING and cell is not None:
                numbers = cell.decode().strip("[]{}").split("/")[0]
                yield [float(number.rpartition(":")[2]) for number in numbers.split(",") if number]


def _inside(name: str, value: Any, kept: bool, formed: bool) -> Iterator[Field]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield Field(name, str(key), True, False)
            yield from _inside(f"{name}.{key}" if key.isidentifier() else f"{name}.*", one, kept, formed)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _inside(name, one, kept, formed)
    elif isinstance(value, bytes):
        yield Field(name, as_text(value), kept, formed, _readable(value))
    elif value is not None and not isinstance(value, bool):
        yield Field(name, str(value), kept, formed and isinstance(value, str))


def _readable(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
