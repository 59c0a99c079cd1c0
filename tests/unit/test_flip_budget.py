"""How much of a pause an attempt may take."""

from __future__ import annotations

from tenant_lifecycle.model.flip import PICKY_ATTEMPTS, FlipBudget


def test_the_first_attempts_wait_for_a_good_moment() -> None:
    budget = FlipBudget()
    for number in range(1, PICKY_ATTEMPTS + 1):
        one = budget.for_attempt(number)
        assert (one.pause_s, one.lock_s) == (budget.pause_s, budget.pause_s / 2)


def test_later_ones_may_take_longer_but_never_more_than_both_budgets_together() -> None:
    budget = FlipBudget()
    most = budget.lock_s + budget.marker_s
    pauses = [budget.for_attempt(n).pause_s for n in range(PICKY_ATTEMPTS, budget.attempts + 1)]
    assert pauses == sorted(pauses) and pauses[1] > pauses[0] and pauses[-1] == most < budget.fence_ttl_s
    assert all(budget.for_attempt(n).lock_s <= budget.lock_s for n in range(1, budget.attempts + 1))


def test_a_pause_budget_above_the_others_changes_nothing() -> None:
    budget = FlipBudget(pause_s=60.0)
    assert budget.for_attempt(1).pause_s == budget.lock_s + budget.marker_s
    assert budget.for_attempt(10_000) == budget.for_attempt(1)


def test_the_way_back_takes_a_longer_pause_rather_than_another_attempt() -> None:
    budget = FlipBudget()
    forth, back = ([budget.for_attempt(n, back=way).pause_s for n in (1, 2, 3, 4)] for way in (False, True))
    assert forth == [0.12] * 4
    assert back == [0.12, 0.24, 0.48, 0.8]
