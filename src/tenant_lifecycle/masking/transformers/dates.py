"""Moments, moved by the same number of days for everything of one person, so that intervals stay."""

from __future__ import annotations

import re
from datetime import date, timedelta

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

#: Days to either side, if the rule says nothing.
DAYS = 30
_DATE = re.compile(r"(?<![0-9])([0-9]{4})-([0-9]{2})-([0-9]{2})(?![0-9])")


def shift_days(key: MaskingKey, subject: str, days: int) -> int:
    """From -days to +days, never 0."""
    number = key.number("person.days", subject, 2 * days)
    return number - days if number < days else number - days + 1


def shifted(value: str, days: int) -> str:
    """Every date in the value moved; time of day, ranges and ``infinity`` stay. Out of the calendar: its edge."""

    def move(match: re.Match[str]) -> str:
        try:
            return (date(int(match[1]), int(match[2]), int(match[3])) + timedelta(days=days)).isoformat()
        except (ValueError, OverflowError):
            return "9999-12-31" if days > 0 else "0001-01-01"

    return _DATE.sub(move, value)


def _date_shift(rule: Rule, setting: Setting) -> Transform:
    """``subject``: the column with the person's id; without one, all of the tenant moves together. ``days``: 30."""
    subject, days = rule.text("subject"), int(rule.number("days", DAYS))
    return lambda value, row: shifted(
        value, shift_days(setting.key, (row.raw(subject) or "") if subject else "", days)
    )


KINDS = (
    Kind(
        "date_shift", Guarantee.NOT_GUARANTEED,
        classes(DataClass.QUASI, DataClass.STRUCTURAL, DataClass.DIRECT), _date_shift, frozenset({"subject", "days"}),
    ),
)  # fmt: skip
