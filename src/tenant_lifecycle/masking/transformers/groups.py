"""Quasi-identifiers made coarse: a year of birth, the first digits of a zip, a job that many have."""

from __future__ import annotations

import re

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

_YEAR = re.compile(r"([0-9]{4})")


def _year(rule: Rule, _setting: Setting) -> Transform:
    """``years``: so many of them together, 1 by default. A date becomes the first day of its year."""
    width = int(rule.number("years", 1))

    def one(value: str) -> str | None:
        match = _YEAR.match(value)
        if match is None:
            return None
        year = max(1, int(match[1]) // width * width)
        return f"{year:04}-01-01" if "-" in value else f"{year:04}"

    return lambda value, _row: one(value)


def _prefix(rule: Rule, _setting: Setting) -> Transform:
    """``keep``: so many characters stay, 2 by default; the others become ``0`` or ``x``."""
    kept = int(rule.number("keep", 2))
    return lambda value, _row: value[:kept] + re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", value[kept:]))


def _category(_rule: Rule, _setting: Setting) -> Transform:
    """As it is; what fewer than k rows have is made unknown by the check of groups."""
    return lambda value, _row: value


_QUASI = classes(DataClass.QUASI)
KINDS = (
    Kind("year", Guarantee.LOSSY, _QUASI, _year, frozenset({"years", "otherwise"})),
    Kind("prefix", Guarantee.LOSSY, _QUASI, _prefix, frozenset({"keep", "otherwise"})),
    Kind("category", Guarantee.LOSSY, _QUASI, _category, frozenset({"otherwise"})),
)
#: Their values make the groups whose size is checked.
GROUPING = frozenset(kind.name for kind in KINDS)
