"""A move in a maintenance window: writes are refused with its end, and go on by themselves whatever happens to us."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import psycopg
import pytest

from rig import NEIGHBOURS, TENANT, Rig
from tenant_lifecycle.client.gate import WriterGate
from tenant_lifecycle.errors import TenantInMaintenance, UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.stores.base import Fences, FenceState

WINDOW = Strategy.MAINTENANCE_WINDOW
#: A counter of the writer's own in a table of the tenant.
WRITE = "INSERT INTO settings (tenant_id, section, name, slug) VALUES (%s, 'window', %s, %s)"
#: The fence's time to live; the default of `FlipBudget`.
TTL_S = 2.0


@dataclass
class Writer:
    """One writer of one tenant, which notes when it was acknowledged, and when refused."""

    rig: Rig
    tenant: str = TENANT
    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    refused: list[tuple[float, TenantInMaintenance]] = field(default_factory=list)
    others: list[BaseException] = field(default_factory=list)
    slowest_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        self._stop.set()
        assert self._ended.wait(20)

    def run(self) -> None:
        gate = WriterGate(self.rig.pair.dsns, "blue")
        number = 0
        while not self._stop.wait(0.005):
            number += 1
            slug = f"w{number}"
            began = time.monotonic()
            try:
                gate.run(self.tenant, lambda conn, slug=slug: conn.execute(WRITE, (self.tenant, slug, slug)))
                self.acknowledged.append((time.monotonic(), slug))
            except TenantInMaintenance as refusal:
                self.refused.append((time.monotonic(), refusal))
            except BaseException as error:
                self.others.append(error)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        gate.close()
        self._ended.set()

    def lost(self, environment: str) -> set[str]:
        """What was acknowledged and is not there."""
        with psycopg.connect(self.rig.pair.dsns[environment]) as conn:
            found = conn.execute("SELECT slug FROM settings WHERE tenant_id = %s", (self.tenant,)).fetchall()
        return {slug for _, slug in self.acknowledged} - {slug for (slug,) in found}


@contextmanager
def writing(rig: Rig, *tenants: str) -> Iterator[list[Writer]]:
    writers = [Writer(rig, tenant) for tenant in (TENANT, *tenants)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


@contextmanager
def finally_equal(rig: Rig) -> Iterator[None]:
    """After the block, with feeds that go on, both sides come to hold the same."""
    yield
    deadline = time.monotonic() + 10
    while not rig.consistent():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def start(rig: Rig, window_s: float = 600.0, opens: str = "now", **options: object) -> str:
    chosen = MigrationOptions(
        settle_s=3600.0, workers=2, strategy=WINDOW, window_opens=opens, window_s=window_s, **options
    )
    return rig.lifecycle.start_migration(TENANT, "blue", "green", chosen, actor="test")


@contextmanager
def copy_blocked(rig: Rig, id: str) -> Iterator[None]:
    """From the opening of the window until the end of the block nobody can copy into one table of the target."""
    begun(rig, id, "hold-writes")
    with psycopg.connect(rig.pair.green) as conn:
        conn.execute("LOCK TABLE documents IN EXCLUSIVE MODE")
        yield


def fence(rig: Rig, environment: str) -> Fences:
    store = rig.lifecycle.stores[environment]["postgres"]
    assert isinstance(store, Fences)
    return store


def begun(rig: Rig, id: str, key: str) -> None:
    deadline = time.monotonic() + 60
    while key not in {step.key for step in rig.lifecycle.steps(id)}:
        operation = rig.lifecycle.operation(id)
        assert time.monotonic() < deadline and not operation.terminal, operation.error
        time.sleep(0.005)


def test_in_a_window_writes_are_refused_at_once_with_its_end_and_then_go_to_the_target(rig: Rig) -> None:
    with rig.lifecycle.runner(), finally_equal(rig), writing(rig, NEIGHBOURS[0]) as (writer, neighbour):
        time.sleep(0.2)
        id = start(rig)
        operation = rig.wait(id, "flip/1")
        assert operation.state is not State.ATTENTION and not operation.terminal, operation.error
        time.sleep(0.5)
        flipped = time.monotonic()
        time.sleep(0.3)
        assert not writer.others, writer.others[:2]
        assert any(at > flipped for at, _ in writer.acknowledged), "writes go on at the target"
    assert not writer.others and not neighbour.others and not neighbour.refused
    assert writer.refused, "nobody was told of the window"
    until = rig.output(id, "hold-writes")["until"]
    assert {refusal.until for _, refusal in writer.refused} <= {until} or writer.refused[0][1].until[
        :16
    ] == until[:16]
    assert writer.slowest_s < 1.5 and neighbour.slowest_s < 1.0
    assert not writer.lost("green") and not neighbour.lost("blue")
    keys = [step.key for step in rig.lifecycle.steps(id)]
    assert keys[2:6] == ["arm", "window", "feed", "hold-writes"]


def test_after_a_window_there_is_the_same_way_back(rig: Rig) -> None:
    with writing(rig) as (writer,), rig.lifecycle.runner():
        id = start(rig)
        rig.wait(id, "flip/1")
        time.sleep(0.3)
        rig.lifecycle.signal(id, "rollback", actor="test")
        operation = rig.wait(id, "flip/2")
        assert not operation.terminal, operation.error
        refused = len(writer.refused)
        time.sleep(0.3)
    assert not writer.others and len(writer.refused) == refused, "a rollback refuses nobody"
    assert not writer.lost("blue")


@pytest.mark.parametrize("key", ["copy", "verify"])
def test_a_worker_killed_in_the_window_lets_writes_go_on_within_the_fences_life_and_the_move_goes_on(
    rig: Rig, key: str
) -> None:
    with writing(rig) as (writer,):
        id = start(rig)
        with rig.worker() as worker, copy_blocked(rig, id) if key == "copy" else nullcontext():
            begun(rig, id, key)
            worker.kill()
            killed = time.monotonic()
        time.sleep(TTL_S + 1.0)
        between = [at for at, _ in writer.acknowledged if at > killed]
        assert between and between[0] - killed < TTL_S + 0.5, "writes go on at the source by themselves"
        assert rig.lifecycle.home(TenantId(TENANT)) == "blue"
        with rig.worker(), finally_equal(rig):
            operation = rig.wait(id, "flip/1")
            assert not operation.terminal and operation.state is not State.ATTENTION, operation.error
            time.sleep(0.5)
            writer.stop()
    assert not writer.others and not writer.lost("green")
    held = [event for event in rig.lifecycle.events(id) if event.kind == "writes-held"]
    assert len(held) == 2, "the second driver put the fence up again"


def test_a_window_that_ends_before_the_work_is_done_is_taken_back_and_never_overrun(
    rig: Rig,
) -> None:
    with writing(rig) as (writer,), rig.lifecycle.runner():
        id = start(rig, window_s=4.0)
        with copy_blocked(rig, id):
            ends = time.monotonic() + float(str(rig.output(id, "window")["ends"])) - time.time()
            time.sleep(5.5)
        operation = rig.wait(id)
        time.sleep(0.3)
    assert operation.state is State.FAILED
    assert operation.error is not None and operation.error.kind == "WindowOver"
    assert "writes go on at the source" in operation.error.message
    assert "--window-for" in operation.error.next_step
    after = [at for at, _ in writer.acknowledged if at > ends - 1.5]
    assert after and after[0] < ends + 0.5, "the fence ended with the window, not with the copy"
    assert not writer.others and not writer.lost("blue")
    assert rig.slots() == 0 and sum(rig.rows("green").values()) == 0
    assert fence(rig, "blue").fence_row(TenantId(TENANT)) is None


def test_an_abort_in_the_window_lets_writes_go_on_and_leaves_nothing(rig: Rig) -> None:
    with writing(rig) as (writer,), rig.lifecycle.runner():
        id = start(rig)
        with copy_blocked(rig, id):
            begun(rig, id, "copy")
            rig.lifecycle.abort(id, actor="test")
        assert rig.wait(id).state is State.ABORTED
        aborted = time.monotonic()
        time.sleep(0.3)
    assert [at for at, _ in writer.acknowledged if at > aborted]
    assert not writer.lost("blue") and rig.slots() == 0


def test_a_window_is_waited_for_and_nothing_is_held_before(rig: Rig) -> None:
    opens = time.time() + 4
    text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(opens))
    with writing(rig) as (writer,), rig.lifecycle.runner():
        id = start(rig, opens=text)
        rig.wait(id, "arm")
        assert fence(rig, "blue").fence_row(TenantId(TENANT)).state is FenceState.ACTIVE
        rig.wait(id, "flip/1")
    assert not writer.others
    first = time.time() - (time.monotonic() - writer.refused[0][0])
    assert first >= int(opens), "refused before the window opened"


def test_a_window_nobody_drove_in_is_not_begun_late(rig: Rig) -> None:
    opens = time.time() + 1.5
    text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(opens + 1))
    id = start(rig, window_s=0.5, opens=text)
    time.sleep(3.5)
    with rig.lifecycle.runner():
        operation = rig.wait(id)
    assert operation.state is State.FAILED and "before anything was begun" in operation.error.message


def test_a_plan_of_a_window_says_what_it_costs_and_refuses_to_wait_for_a_person(rig: Rig) -> None:
    def plan(**chosen: object):
        options = MigrationOptions(strategy=WINDOW, **chosen)
        return rig.lifecycle.plan_migration(TenantId(TENANT), "blue", "green", options)

    made = plan(window_opens="02:30", window_s=900.0)
    assert made.strategy is WINDOW and "chosen for this migration" in made.why
    assert made.window is not None and made.window.opens_at % 86400 == 2.5 * 3600
    assert made.pause is not None and 0 < made.pause.seconds <= 900
    assert "TL005" in next(f.message for f in made.findings if f.code == "plan.window")
    assert made.steps == () and not made.refusals
    assert plan(window_opens="02:30", window_s=901.0).hash != made.hash
    refused = plan(cutover=Cutover.MANUAL).refusals
    assert [finding.code for finding in refused] == ["plan.window-manual"]
    for wrong in ("25:00", "yesterday", "2026-11-24T02:00:00", "2020-01-01T00:00:00+00:00", "2:30", ""):
        if wrong:
            with pytest.raises(UsageError, match="window"):
                plan(window_opens=wrong)
