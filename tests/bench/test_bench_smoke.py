"""The benches run, and say what they found in the promised form. How fast anything is, is not tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.measure import alternating, percentile
from bench.report import Budget, Figure, Report, rounded, table

ROOT = Path(__file__).parents[2]
FIELDS = {"bench", "figure", "unit", "ours", "peer", "peer_name", "ratio", "better", "budget", "met", "cores"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fence", "copy", "stores", "client", "route", "erase", "sealing", "dedup", "log"])
def test_the_last_line_is_one_object_with_both_sides(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--quick", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document.keys() >= FIELDS
    assert document["bench"] == name
    assert document["ours"] > 0 and document["peer"] > 0
    assert document["ratio"] == pytest.approx(document["ours"] / document["peer"], rel=0.01)


def figure(ours: float, peer: float | None, *budgets: Budget) -> Figure:
    return Figure("a figure", "ms", ours, peer, "the peer", "lower", budgets)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (Budget("value", "at most", 12.0), True),
        (Budget("value", "at most", 11.9), False),
        (Budget("value", "at least", 12.0), True),
        (Budget("ratio", "at most", 1.2), True),
        (Budget("ratio", "at least", 1.3), False),
        (Budget("added", "at most", 2.0), True),
        (Budget("added", "at most", 1.9), False),
        (Budget("added %", "at most", 20.0), True),
        (Budget("added %", "at most", 19.0), False),
    ],
)
def test_a_budget_is_kept_up_to_its_limit_and_not_beyond(budget: Budget, kept: bool) -> None:
    assert figure(12.0, 10.0, budget).met is kept


def test_a_figure_with_one_missed_budget_of_two_is_missed() -> None:
    both = figure(12.0, 10.0, Budget("value", "at most", 20.0), Budget("ratio", "at most", 1.1))
    assert both.met is False
    assert not Report("a bench", (figure(1.0, 1.0), both)).met
    assert "NO" in table([("a bench", both.as_json())])


def test_a_missing_peer_is_null_and_not_a_number() -> None:
    report = Report("a bench", (figure(0.0, None, Budget("value", "at most", 0.0)),))
    document = json.loads(json.dumps(report.as_json(quick=False), allow_nan=False))
    assert document["peer"] is None and document["ratio"] is None and document["met"] is True


def test_sides_take_turns_and_change_who_begins() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    seconds = alternating(
        {"ours": lambda _n: side("ours"), "peer": lambda _n: side("peer")}, 3, lambda _: None
    )
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert seconds == {"ours": [1.0, 4.0, 5.0], "peer": [2.0, 3.0, 6.0]}


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_figures_are_rounded_to_what_they_are_worth() -> None:
    assert rounded(123456.0) == 123500.0
    assert rounded(float("inf")) is None
    assert rounded(float("nan")) is None
