"""Amounts of money and other numbers that say too much: noise, buckets, or the mean of a group of five or more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Row, Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

_STEPS = 1_000_000


def _number(value: str) -> Decimal | None:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _like(number: Decimal, value: Decimal) -> str:
    """With as many digits behind the point as the value."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return f"{number.quantize(Decimal(1).scaleb(min(exponent, 0)), rounding=ROUND_HALF_EVEN):f}"


def _each(change: Callable[[Decimal, Row], Decimal]) -> Transform:
    """Numbers changed; NaN and infinities, and what is no number, are not there any more."""

    def one(value: str, row: Row) -> str | None:
        number = _number(value)
        return None if number is None else _like(change(number, row), number)

    return one


def _noise(rule: Rule, setting: Setting) -> Transform:
    """``percent``: at most so far from the value, 10 by default; never the value's own share of it twice."""
    percent = Decimal(str(rule.number("percent", 10)))

    def change(number: Decimal, _row: Row) -> Decimal:
        step = setting.key.number(f"amount.{rule.domain}", str(number.normalize()), 2 * _STEPS) - _STEPS
        return number * (1 + percent / 100 * (Decimal(step) + (step >= 0)) / _STEPS)

    return _each(change)


def _bucket(rule: Rule, _setting: Setting) -> Transform:
    """``width``: rounded down to a multiple of it."""
    width = Decimal(str(rule.number("width", 100)))
    return _each(lambda number, _row: (number / width).to_integral_value(rounding=ROUND_FLOOR) * width)


class Means:
    """Sums and counts by group, from the first pass over the source."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._sums: dict[str | None, Decimal] = defaultdict(Decimal)
        self._counts: dict[str | None, int] = defaultdict(int)

    def add(self, group: str | None, value: str) -> None:
        number = _number(value)
        if number is not None:
            self._sums[group] += number
            self._counts[group] += 1

    def of(self, group: str | None) -> Decimal | None:
        """The group's mean; of a group with fewer than k, that of all small ones together; None: fewer even then."""
        if self._counts[group] >= self._k:
            return self._sums[group] / self._counts[group]
        small = [one for one, count in self._counts.items() if count < self._k]
        count = sum(self._counts[one] for one in small)
        return sum((self._sums[one] for one in small), Decimal()) / count if count >= self._k else None


def _aggregate(rule: Rule, setting: Setting) -> Transform:
    """``by``: the column that groups; the place's means are in ``setting.means`` under the rule's domain."""
    by, means = rule.text("by"), setting.means.setdefault(rule.domain, Means(setting.target.k))

    def one(value: str, row: Row) -> str | None:
        number, mean = _number(value), means.of(row.raw(by) if by else None)
        return None if number is None or mean is None else _like(mean, number)

    return one


_NUMBERS = classes(DataClass.QUASI, DataClass.STRUCTURAL, DataClass.ACCOUNT)
KINDS = (
    Kind("noise", Guarantee.NOT_GUARANTEED, _NUMBERS, _noise, frozenset({"percent"})),
    Kind("bucket", Guarantee.LOSSY, _NUMBERS, _bucket, frozenset({"width"})),
    Kind("aggregate", Guarantee.LOSSY, _NUMBERS, _aggregate, frozenset({"by"})),
)
