"""Stores beside a judge tell moments by its clock."""

from __future__ import annotations

from typing import Any, cast

from tenant_lifecycle.stores.backing import Clocked, TellsTime
from tenant_lifecycle.stores.base import Fences
from tenant_lifecycle.stores.keyed import machine_us
from tenant_lifecycle.wiring.clocks import JudgesClock, go_by_the_judge

HOUR_US = 3_600_000_000


class _Judge:
    """A judge whose clock is an hour ahead."""

    asked = 0

    def now_us(self) -> int:
        self.asked += 1
        return machine_us() + HOUR_US

    def __getattr__(self, name: str) -> Any:
        if name in {"arm", "fence_row", "fence", "release", "commit_move", "activate", "disarm", "blockers"}:
            return lambda *_: None
        raise AttributeError(name)


class _Keys:
    clock = staticmethod(machine_us)


class _Plain:
    """A store that tells no moments."""


def test_stores_go_by_the_judges_clock() -> None:
    judge, keys = _Judge(), _Keys()
    assert isinstance(judge, Fences) and isinstance(judge, TellsTime) and isinstance(keys, Clocked)
    go_by_the_judge(cast("Any", {"postgres": judge, "redis": keys, "other": _Plain()}))
    assert abs(keys.clock() - machine_us() - HOUR_US) < 1_000_000
    assert isinstance(keys.clock, JudgesClock)
    for _ in range(100):
        keys.clock()
    assert judge.asked == 1


def test_without_a_judge_the_machines_clock_stays() -> None:
    keys = _Keys()
    go_by_the_judge(cast("Any", {"redis": keys}))
    assert keys.clock is machine_us
