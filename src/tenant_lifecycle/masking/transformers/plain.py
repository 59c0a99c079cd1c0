"""What stays, what is always the same, and what goes."""

from __future__ import annotations

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes


def _keep(_rule: Rule, _setting: Setting) -> Transform:
    return lambda value, _row: value


def _constant(rule: Rule, _setting: Setting) -> Transform:
    """``value``: what stands in every clone; an ``off`` switch of a schedule."""
    constant = rule.text("value")
    return lambda _value, _row: constant


def _null(_rule: Rule, _setting: Setting) -> Transform:
    return lambda _value, _row: None


#: Of everything but what must not be kept.
_ANY = frozenset(DataClass) - {DataClass.JSON}
KINDS = (
    Kind("keep", Guarantee.PRESERVED, classes(DataClass.PUBLIC, DataClass.STRUCTURAL), _keep),
    Kind("constant", Guarantee.LOSSY, _ANY, _constant, frozenset({"value"})),
    Kind("null", Guarantee.LOSSY, _ANY, _null),
)
