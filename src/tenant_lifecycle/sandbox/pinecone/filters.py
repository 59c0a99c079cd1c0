"""Metadata filters: which records a query, a deletion or an update by filter is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Metadata = dict[str, Any]


class BadFilter(ValueError):
    """The filter is not one; the message says why."""


def matches(metadata: Metadata | None, wanted: Metadata | None) -> bool:
    """Whether a record with that metadata is meant; no filter means every record.

    Raises:
        BadFilter: an operator that is not known.
    """
    held = metadata or {}
    return all(_holds(held, name, condition) for name, condition in (wanted or {}).items())


def _holds(held: Metadata, name: str, condition: Any) -> bool:
    if name == "$and":
        return all(matches(held, one) for one in condition)
    if name == "$or":
        return any(matches(held, one) for one in condition)
    if not isinstance(condition, dict):
        condition = {"$eq": condition}
    for operator, operand in condition.items():
        if operator == "$exists":
            if (name in held) is not bool(operand):
                return False
        elif operator not in _OPERATORS:
            raise BadFilter(f"the operator {operator} is not known")
        elif not _OPERATORS[operator](held.get(name), operand):
            return False
    return True


def _equal(value: Any, operand: Any) -> bool:
    """A list of strings equals each of its members; True is not 1."""
    if isinstance(value, list):
        return operand in value
    return isinstance(value, bool) is isinstance(operand, bool) and bool(value == operand)


def _number(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, operand: Any) -> bool:
        plain = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, operand))
        return plain and compare(value, operand)

    return holds


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$in": lambda value, operand: any(_equal(value, one) for one in operand),
    "$nin": lambda value, operand: not any(_equal(value, one) for one in operand),
    "$gt": _number(lambda a, b: a > b),
    "$gte": _number(lambda a, b: a >= b),
    "$lt": _number(lambda a, b: a < b),
    "$lte": _number(lambda a, b: a <= b),
}
