"""One sweeper at a time, and none where nobody can tell how old anything is."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from care_signing import SIGNS
from tenant_lifecycle.backups.care.lease import SweeperLease
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.errors import LeaseLost, LifecycleError, RepositoryRejected, WrongState


def take(
    storage: Storage, owner: str = "me", ttl_s: float = 60.0, now: Callable[[], float] = time.time
) -> SweeperLease:
    return SweeperLease.acquire(storage, SIGNS, owner, now, ttl_s)


def test_a_second_sweeper_is_told_who_has_it(storage: Storage) -> None:
    first = take(storage, "ann@host1")
    with pytest.raises(WrongState, match="ann@host1"):
        take(storage)
    first.check()
    first.release()
    assert take(storage).token > first.token


def test_of_many_at_once_one_wins(folder: Storage) -> None:
    def attempt(number: int) -> SweeperLease | None:
        try:
            return take(folder, f"sweeper {number}")
        except WrongState:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [one for one in pool.map(attempt, range(16)) if one is not None]
    assert len(winners) == 1


def test_a_holder_that_died_is_followed_when_its_time_is_over(folder: Storage) -> None:
    dead = take(folder, ttl_s=0.2)
    with pytest.raises(WrongState):
        take(folder)
    time.sleep(0.25)
    next_one = take(folder)
    assert next_one.token > dead.token
    with pytest.raises(LeaseLost, match="ran out"):
        dead.check()


def test_a_holder_renews_itself_and_stops_when_somebody_took_over(folder: Storage) -> None:
    mine = take(folder, ttl_s=0.6)
    first = mine.token
    for _ in range(4):
        time.sleep(0.2)
        mine.check()
    assert mine.token > first
    # As if it had been stopped for long, and its clock had not moved.
    SweeperLease(folder, SIGNS, "other", time.time, 60.0, mine.token)._take(mine.token + 1)
    time.sleep(0.35)
    with pytest.raises(LeaseLost, match="took over"):
        mine.check()


@pytest.mark.parametrize("skew_s", [-120.0, 61.5, 86400.0])
def test_a_clock_that_is_off_stops_everything(folder: Storage, skew_s: float) -> None:
    with pytest.raises(RepositoryRejected, match="clock and ours differ"):
        take(folder, now=lambda: time.time() + skew_s)
    assert isinstance(take(folder), SweeperLease), "the refused one left the way free"


def test_a_lease_that_was_changed_is_an_error(folder: Storage) -> None:
    take(folder, "me")
    (name,) = [name for name, _, _ in folder.names("care/lease/")]
    data = bytearray(folder.get(name))
    for position in range(0, len(data), 7):
        data[position] ^= 1
        folder.delete(name)
        folder.put(name, bytes(data))
        data[position] ^= 1
        with pytest.raises(LifecycleError, match=name):
            take(folder)
