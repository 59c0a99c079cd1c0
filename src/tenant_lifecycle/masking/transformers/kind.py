"""What a transformer says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Setting, Transform


@dataclass(frozen=True, slots=True)
class Kind:
    """One transformer."""

    name: str
    guarantee: Guarantee
    #: What it may be used for.
    classes: frozenset[DataClass]
    make: Callable[[Rule, Setting], Transform]
    #: Names of the options that it knows; another one is a mistake.
    options: frozenset[str] = frozenset()


def classes(*found: DataClass) -> frozenset[DataClass]:
    """Of a few."""
    return frozenset(found)
