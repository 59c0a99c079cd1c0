"""When counts contradict a share, and when they do not say enough."""

from __future__ import annotations

import random

import pytest

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.base import Route, Served
from tenant_lifecycle.traffic.drift import CheckRules, bounds, config_drift, count, restarted, served_drift

T = TenantId("t")
ROUTE = Route(T, "blue", {"blue": 90, "green": 10})
RULES = CheckRules(requests_per_session=1)


def codes(blue: Served, green: Served, route: Route = ROUTE, rules: CheckRules = RULES) -> list[str]:
    after = {"blue": blue, "green": green}
    return [f.code for f in served_drift("edge", route, count(route, {}, after, rules), rules)]


def test_equal_routes_are_equal_whatever_was_left_out() -> None:
    assert Route(T, "blue", {"green": 0, "blue": 100}) == Route(T, "blue", {"blue": 100})
    for wrong in ({"blue": 99}, {"blue": 101, "green": -1}, {}):
        with pytest.raises(ValueError, match="100"):
            Route(T, "blue", wrong)


@pytest.mark.parametrize("percent", [1, 10, 25, 50, 99])
@pytest.mark.parametrize("per_session", [1, 20])
def test_honest_shares_stay_within_the_bounds(percent: int, per_session: int) -> None:
    chance = random.Random(percent)
    rules = CheckRules(requests_per_session=per_session)
    for _ in range(200):
        sessions = [chance.random() < percent / 100 for _ in range(100)]
        low, high = bounds(percent / 100, per_session * len(sessions), rules)
        assert low <= sum(sessions) / len(sessions) <= high


def test_without_sessions_in_the_bound_honest_traffic_would_look_like_drift() -> None:
    chance = random.Random(1)
    low, high = bounds(0.5, 4000, RULES)
    found = [sum(chance.random() < 0.5 for _ in range(20)) / 20 for _ in range(200)]
    assert any(not low <= share <= high for share in found)


def test_a_wrong_share_is_drift_and_the_message_has_the_numbers() -> None:
    after = {"blue": Served(750), "green": Served(250)}
    found = served_drift("edge", ROUTE, count(ROUTE, {}, after, RULES), RULES)
    assert {f.code for f in found} == {"traffic.drift-served"}
    assert any("250 of 1000 reads, 25.00 %; its share is 10 %" in f.message for f in found)
    assert codes(Served(900), Served(100)) == []
    assert codes(Served(905), Served(95)) == []


def test_one_read_where_there_should_be_none_is_drift() -> None:
    alone = Route(T, "blue", {"blue": 100})
    assert codes(Served(10_000), Served(1), alone) == ["traffic.drift-served"]
    assert codes(Served(1), Served(1), alone) == ["traffic.drift-served"]
    assert codes(Served(10_000), Served(1), alone, CheckRules(stragglers=1)) == []


def test_one_write_past_the_writer_is_drift_and_writes_are_no_part_of_shares() -> None:
    assert codes(Served(900), Served(101, writes=1)) == ["traffic.drift-served"]
    assert codes(Served(5900, writes=5000), Served(100)) == []


def test_few_reads_are_not_judged_and_that_is_said() -> None:
    assert codes(Served(0), Served(199)) == ["traffic.not-judged"]
    assert "traffic.drift-served" in codes(Served(0), Served(200))
    assert codes(Served(), Served()) == ["traffic.not-judged"]


def test_counts_are_those_between_two_looks() -> None:
    before = {"blue": Served(100_000, errors=5), "green": Served(0)}
    after = {"blue": Served(100_090, errors=7), "green": Served(10)}
    counted = count(ROUTE, before, after, RULES)
    assert [(one.environment, one.reads, one.errors) for one in counted] == [
        ("blue", 90, 2),
        ("green", 10, 0),
    ]


def test_counters_that_began_anew_are_noticed() -> None:
    before = {"blue": Served(10, writes=3)}
    assert restarted(before, {"blue": Served(9, writes=3)})
    assert restarted(before, {"blue": Served(10, writes=2)})
    assert restarted(before, {})
    assert not restarted(before, {"blue": Served(11, writes=3), "green": Served(1)})
    assert not restarted({}, before)


def test_configurations_are_compared_three_ways() -> None:
    other = Route(T, "green", {"blue": 90, "green": 10})
    assert config_drift("edge", ROUTE, ROUTE, ROUTE) == []
    assert config_drift("edge", None, None, None) == []
    for written, actual in ((ROUTE, other), (other, ROUTE), (other, other), (None, None), (ROUTE, None)):
        found = config_drift("edge", ROUTE, written, actual)
        assert {f.code for f in found} == {"traffic.drift-config"}, (written, actual)
    assert config_drift("edge", None, ROUTE, ROUTE)
