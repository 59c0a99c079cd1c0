"""Names: ``Ada Bauer`` is the same made-up person in every column and in prose."""

from __future__ import annotations

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Row, Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes


def _name(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: setting.names.of(value).full if value.strip() else value


def _first(rule: Rule, setting: Setting) -> Transform:
    """``last``: the column of the family name, so that both together are one person."""
    return lambda value, row: setting.names.of(_both(value, row.raw(rule.text("last")))).given


def _last(rule: Rule, setting: Setting) -> Transform:
    """``first``: the column of the given name."""
    return lambda value, row: setting.names.of(_both(row.raw(rule.text("first")), value)).family


def _both(first: str | None, last: str | None) -> str:
    return " ".join(part for part in (first, last) if part)


def full_name(rule: Rule, value: str, row: Row) -> str:
    """What a column says of a person's name, with the other half where it is a column of its own."""
    if rule.kind == "first_name":
        return _both(value, row.raw(rule.text("last")))
    return _both(row.raw(rule.text("first")), value) if rule.kind == "last_name" else value


_DIRECT = classes(DataClass.DIRECT)
KINDS = (
    Kind("name", Guarantee.NOT_GUARANTEED, _DIRECT, _name),
    Kind("first_name", Guarantee.NOT_GUARANTEED, _DIRECT, _first, frozenset({"last"})),
    Kind("last_name", Guarantee.NOT_GUARANTEED, _DIRECT, _last, frozenset({"first"})),
)
