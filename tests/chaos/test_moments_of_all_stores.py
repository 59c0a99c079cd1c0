"""Any moment of a tenant in four stores, under load, is what was read at that moment, or is refused as not exact.

Writes are held by the fence while a moment is read, so it lies in the middle of the load and what is read is its state.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from tenant_lifecycle.errors import NotRestorable, StoreBusy
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.demo.load_process import load_process
from tenant_lifecycle.sandbox.demo.operating import succeeded
from tenant_lifecycle.sandbox.demo.restore import archiver_process
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.stores.backing import Backs
from tenant_lifecycle.stores.base import Fences
from tenant_lifecycle.wiring import Lifecycle, find_installation
from tenant_lifecycle.wiring.repository import is_archived

TENANT, NEIGHBOUR = TenantId("wonka"), TenantId("gringotts")
MOMENTS, BASES = 200, 4
KEY = b"moments of all stores, read twice"[:32]
PATIENCE_S = 120.0
#: Store and set -> what it held.
State = Mapping[tuple[str, str], Fingerprint]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[tuple[Sandbox, Lifecycle]]:
    """One environment with four stores, its archiver in a process of its own."""
    tmp_path.chmod(0o755)
    made = Sandbox(tmp_path / "sandbox", parts=(Part.REDIS, Part.VECTORS, Part.OBJECTS, Part.APP))
    file = made.folder / "lifecycle.yaml"
    with (
        running(made, scale=0.1, green=Fill.SCHEMA),
        archiver_process(file),
        Lifecycle(find_installation(file)) as lifecycle,
        lifecycle.runner(),
    ):
        yield made, lifecycle


def stores(lifecycle: Lifecycle) -> Mapping[str, Backs]:
    return {name: one for name, one in lifecycle.stores["blue"].items() if isinstance(one, Backs)}


def begin(lifecycle: Lifecycle) -> None:
    """Everything is archived before the first base."""
    for tenant in (TENANT, NEIGHBOUR):
        lifecycle.backups.protect(tenant, "blue")
    end = time.monotonic() + PATIENCE_S
    for name in stores(lifecycle):
        while not is_archived(lifecycle.installation.backups, "blue", name):
            assert time.monotonic() < end, name
            time.sleep(0.1)
    base(lifecycle)


def base(lifecycle: Lifecycle) -> None:
    succeeded(lifecycle, lifecycle.backups.start_backup(TENANT, "blue", actor="on call"))


def held_moment(lifecycle: Lifecycle, conn: psycopg.Connection) -> tuple[int, State]:
    """The moment at which the last writer had left, and everything that the tenant has then."""
    judge = lifecycle.stores["blue"]["postgres"]
    assert isinstance(judge, Fences)
    row = judge.fence_row(TENANT)
    assert row is not None
    while True:
        try:
            ticket = judge.fence(TENANT, row.epoch, 30.0, 2.0)
            break
        except StoreBusy:
            time.sleep(0.05)
    try:
        (at_us,) = conn.execute(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ).fetchone() or (0,)
        state: dict[tuple[str, str], Fingerprint] = {}
        for name, store in stores(lifecycle).items():
            with store.read_base(TENANT, lambda: None) as reading:
                for one in reading.shapes:
                    state[name, one] = fingerprint(KEY, reading.items(one))
        left = judge.fence_row(TENANT)
        assert left is not None and left.remaining_s, "the fence held until everything was read"
    finally:
        judge.release(TENANT, ticket)
    return at_us, state


def await_log(lifecycle: Lifecycle, at_us: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        window = lifecycle.backups.repository(TENANT).window()
        if window.intervals and window.intervals[-1].to_us >= at_us:
            return
        assert time.monotonic() < end, window
        time.sleep(0.2)


def composed(lifecycle: Lifecycle, at_us: int) -> State:
    moment = lifecycle.backups.repository(TENANT).moment(at_us)
    return {
        (store, name): fingerprint(KEY, moment.items(store, name))
        for store in moment.stores()
        for name in moment.shapes(store)
    }


def differing(seen: State, made: State) -> list[tuple[str, str]]:
    """Sets that differ; an empty set may be missing on one side."""
    none = Fingerprint()
    return sorted(one for one in {*seen, *made} if seen.get(one, none) != made.get(one, none))


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_two_hundred_moments_of_four_stores_under_load(
    sandbox: tuple[Sandbox, Lifecycle], tmp_path: Path
) -> None:
    made, lifecycle = sandbox
    begin(lifecycle)
    (tmp_path / "ledger").mkdir()
    config = HttpLoadConfig(
        [made.urls["blue"]], {TENANT: 8, NEIGHBOUR: 2}, tmp_path / "ledger", rate=16.0, first_writer=1000
    )
    draw, seen = random.Random(7), []
    with (
        psycopg.connect(made.dsn("blue"), autocommit=True) as conn,
        load_process("tenant_lifecycle.sandbox.http_load.load", config.to_json()) as load,
    ):
        for number in range(MOMENTS):
            time.sleep(draw.uniform(0.05, 0.5))
            seen.append(held_moment(lifecycle, conn))
            if number % (MOMENTS // BASES) == MOMENTS // BASES - 1:
                base(lifecycle)
        summary = load.stop()
    await_log(lifecycle, seen[-1][0])
    wrong, refused = {}, []
    for at_us, state in seen:
        try:
            if found := differing(state, composed(lifecycle, at_us)):
                wrong[at_us] = found
        except NotRestorable as error:
            refused.append(str(error))
    states = len({str(sorted(state.items())) for _, state in seen})
    said = f"{MOMENTS} moments, {states} states, {len(refused)} refused, {summary['acknowledged']} writes"
    print(said, file=sys.stderr)
    assert wrong == {}, f"{said}; {len(wrong)} wrong"
    assert states > MOMENTS * 0.5, "moments differ, so each could be wrong"
    assert len(refused) < MOMENTS * 0.1, f"{said}; {refused[0]}"
