"""Whose clock counts: the judge's, by which the change log is told; stores beside it have none that could judge."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tenant_lifecycle.stores.backing import Clocked, TellsTime
from tenant_lifecycle.stores.base import Fences, Store
from tenant_lifecycle.stores.keyed import machine_us

#: How long a measured difference of clocks is used.
_MEASURED_S = 10.0


class JudgesClock:
    """The judge's time without asking it each time: how far this machine's clock is off is measured now and then."""

    def __init__(self, judge: TellsTime) -> None:
        self._judge = judge
        self._off_us = 0
        self._measured_at = float("-inf")

    def __call__(self) -> int:
        if time.monotonic() - self._measured_at > _MEASURED_S:
            before = machine_us()
            told = self._judge.now_us()
            self._off_us = told - (before + machine_us()) // 2
            self._measured_at = time.monotonic()
        return machine_us() + self._off_us


def go_by_the_judge(stores: Mapping[str, Store]) -> None:
    """Have the stores of one environment tell moments by its judge's clock, if it has one."""
    judge = next((one for one in stores.values() if isinstance(one, Fences)), None)
    if not isinstance(judge, TellsTime):
        return
    for store in stores.values():
        if isinstance(store, Clocked):
            store.clock = JudgesClock(judge)
