"""A driver that dies, or is made to leave, at any executed line changes neither result nor effects.

``make test`` tries a part of the distinct executed lines of engine and catalog, another one each time, each at
one of the times it is executed; ``make chaos`` tries every line every time it is executed, on both databases.
"""

from __future__ import annotations

import os
import random

import pytest
from crashes import World, count, crash, kill, leave, sample

from tenant_lifecycle.engine.driver import Drove

#: Of how many distinct lines one is tried.
EVERY = {("sqlite", "kill"): 12, ("sqlite", "leave"): 18, ("postgres", "kill"): 24, ("postgres", "leave"): 36}
ACTS = {"kill": kill, "leave": leave}


@pytest.fixture
def seed() -> int:
    """Set TENANT_LIFECYCLE_SEED to repeat a run."""
    return int(os.environ.get("TENANT_LIFECYCLE_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS)
def test_a_crash_at_any_line_changes_nothing(world: World, act: str, seed: int) -> None:
    lines = count(world)
    every = EVERY["sqlite" if world.db.sqlite else "postgres", act]
    print(f"seed {seed}: {len(lines)} executed lines, {len({line for line, _ in lines})} distinct")
    crash(world, sample(lines, every, random.Random(seed)), ACTS[act])


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("act", ACTS)
def test_a_crash_at_every_executed_line_changes_nothing(world: World, act: str) -> None:
    crash(world, count(world), ACTS[act])


def test_a_driver_made_to_leave_frees_the_operation_at_once(world: World) -> None:
    operation_id = world.new()

    def exit_in_the_copy(where: str) -> None:
        if where == "before chunk":
            raise SystemExit

    world.definition.hook = exit_in_the_copy
    with pytest.raises(SystemExit):
        world.driver().drive(operation_id)
    world.definition.hook = lambda where: None
    assert world.operations.get(operation_id).owner is None
    assert world.driver().drive(operation_id) is Drove.ENDED
    world.check(operation_id)


@pytest.mark.parametrize("drivers", [8])
def test_of_many_drivers_one_drives(world: World, drivers: int) -> None:
    for _ in range(3):
        operation_id = world.new()

        def drive(operation_id: str = operation_id) -> None:
            while not world.operations.get(operation_id).terminal:
                world.driver().drive(operation_id)

        for pid in [world.fork(drive) for _ in range(drivers)]:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        world.check(operation_id)
        leases = [event for event in world.operations.events(operation_id) if event.kind == "lease"]
        assert len(leases) == 1
