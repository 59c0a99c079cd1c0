"""What a bench found: figures with both sides, the budget of each, and how they are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: What of a figure a budget limits: our value, ours / peer, ours - peer, or that difference in % of the peer.
Measure = Literal["value", "ratio", "added", "added %"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit that a figure has to keep."""

    measure: Measure
    bound: Literal["at most", "at least"]
    limit: float

    def met_by(self, figure: Figure) -> bool:
        """Whether the figure keeps it."""
        seen = figure.measured(self.measure)
        return seen <= self.limit if self.bound == "at most" else seen >= self.limit

    def in_words(self, unit: str) -> str:
        """For people: ``ratio at least 0.9``."""
        name = {"value": "", "ratio": "ratio ", "added": "added ", "added %": "added "}[self.measure]
        suffix = {"value": f" {unit}", "ratio": "", "added": f" {unit}", "added %": " %"}[self.measure]
        return f"{name}{self.bound} {self.limit:g}{suffix}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of ours and the peer's."""

    name: str
    unit: str
    ours: float
    #: None: there is nobody to compare with; ``peer_name`` says why.
    peer: float | None
    peer_name: str
    better: Literal["higher", "lower"]
    budgets: tuple[Budget, ...] = ()

    @property
    def ratio(self) -> float:
        """ours / peer; infinite if the peer is nothing."""
        return self.ours / self.peer if self.peer else float("inf")

    @property
    def met(self) -> bool | None:
        """Whether every budget is kept; None: there is none for this figure."""
        return all(budget.met_by(self) for budget in self.budgets) if self.budgets else None

    def measured(self, measure: Measure) -> float:
        """The side of the figure that a budget looks at."""
        added = self.ours - (self.peer or 0.0)
        return {
            "value": self.ours,
            "ratio": self.ratio,
            "added": added,
            "added %": 100 * added / self.peer if self.peer else float("inf"),
        }[measure]

    def as_json(self) -> dict[str, Any]:
        """The figure with its budgets in words."""
        return {
            "figure": self.name,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "peer": None if self.peer is None else rounded(self.peer),
            "peer_name": self.peer_name,
            "ratio": rounded(self.ratio),
            "better": self.better,
            "budget": [budget.in_words(self.unit) for budget in self.budgets],
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one bench; the first one is what the bench is about."""

    bench: str
    figures: tuple[Figure, ...]
    #: Sizes, single repetitions and whatever else helps to judge the figures.
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether no budget is missed."""
        return all(figure.met is not False for figure in self.figures)

    def as_json(self, quick: bool) -> dict[str, Any]:
        """The first figure at the top, all of them under ``figures``."""
        return {
            "bench": self.bench,
            **self.figures[0].as_json(),
            "all_met": self.met,
            "cores": os.cpu_count(),
            "quick": quick,
            "figures": [figure.as_json() for figure in self.figures],
            **self.extras,
        }


def as_line(document: dict[str, Any]) -> str:
    """One line of JSON; what is infinite or undefined is null."""
    return json.dumps(document, allow_nan=False, default=str)


def rounded(value: float) -> float | None:
    """Four significant digits, None for what JSON cannot say."""
    return float(f"{value:.4g}") if abs(value) != float("inf") and value == value else None


def table(figures: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Figures as (bench, `Figure.as_json`) in aligned columns, one line each."""
    head = ("bench", "figure", "ours", "peer", "ratio", "better", "budget", "met")
    rows = [head, *(_row(bench, figure) for bench, figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [lines[0].rstrip(), "  ".join("-" * width for width in widths), *map(str.rstrip, lines[1:])]
    )


def _row(bench: str, figure: dict[str, Any]) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[figure["met"]]
    return (
        bench,
        figure["figure"],
        f"{_number(figure['ours'])} {figure['unit']}",
        figure["peer_name"] if figure["peer"] is None else _peer(figure),
        _number(figure["ratio"]),
        figure["better"],
        " and ".join(figure["budget"]),
        met,
    )


def _peer(figure: dict[str, Any]) -> str:
    return f"{_number(figure['peer'])} {figure['unit']} ({figure['peer_name']})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
