"""Random faults while a whole tenant moves and people use it over HTTP; every acknowledged request is accounted for.

``CHAOS_WHOLE_SEEDS`` (default 20) says how many seeds, ``CHAOS_FIRST`` the first of them. Faults: kill -9 of the
worker, kill -9 and restart of either Redis (with its append-only file) and of the vector emulator (with its
file), a vector service that throttles or is stale, an object store that answers nothing for a while, says 503
SlowDown, says 500 before or after the effect, or breaks off in the middle of an answer; Envoy, HAProxy (where this
machine has one) and the applications killed and started again, flips back and forth. People come over Envoy, over
HAProxy, or over both. Requests may fail while what serves them is down; what was acknowledged must be on the
writer, in every store, once, and nothing deleted may be back.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_faults import Chaos, Place

from rig import WorkerProcess
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.haproxy import HAProxyServer, haproxy_program
from tenant_lifecycle.sandbox.http_load.config import HttpLoadConfig
from tenant_lifecycle.sandbox.http_load.load import HttpLoad
from tenant_lifecycle.sandbox.ledger_check import check
from tenant_lifecycle.sandbox.parts import MOVED_PARTS
from tenant_lifecycle.sandbox.sample import TENANTS
from tenant_lifecycle.wiring import Lifecycle, find_installation

FIRST = int(os.environ.get("CHAOS_FIRST", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("CHAOS_WHOLE_SEEDS", "20")))
#: Small ones; when all have moved they move again, the other way if they are on green.
MOVING = [tenant.id for tenant in TENANTS[8:]]
OPTIONS = MigrationOptions(Cutover.AUTO, 3600.0, 2, cutover_steps=())
OTHER = {"blue": "green", "green": "blue"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("whole") / "sandbox"
    sandbox = Sandbox(folder, parts=MOVED_PARTS, settings={"fsync": "off"})
    with running(sandbox, scale=0.2, green=Fill.RESIDENTS):
        if haproxy_program() is None:
            yield Place(sandbox, None)
            return
        applications = {name: ("127.0.0.1", sandbox.any_server(f"{name}/app").port) for name in OTHER}
        with HAProxyServer(folder / "haproxy", applications, "blue") as haproxy:
            file = folder / "lifecycle.yaml"
            # The section `traffic`, with one router, is the file's last.
            file.write_text(
                file.read_text()
                + f"    balancer: {{kind: haproxy, map: {haproxy.map_file}, socket: '{haproxy.socket}'}}\n"
            )
            yield Place(sandbox, haproxy)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_acknowledged_request_survives_in_every_store(seed: int, place: Place, tmp_path: Path) -> None:
    dice = random.Random(seed)
    box, tenant = place.box, TenantId(MOVING[seed % len(MOVING)])
    doors = dice.choice([place.doors[:1], place.doors[-1:], place.doors])
    with Lifecycle(find_installation(box.folder / "lifecycle.yaml")) as lifecycle:
        home = lifecycle.home(tenant)
        load = HttpLoad(HttpLoadConfig(doors, {tenant: 6, "globex": 2}, tmp_path, rate=20))
        load.start()
        id = lifecycle.start_migration(tenant, home, OTHER[home], OPTIONS, actor="chaos")
        chaos = Chaos(place, lifecycle, dice, id, WorkerProcess(box.folder, "a"), load)
        try:
            for _ in range(dice.randint(3, 6)):
                time.sleep(dice.uniform(0.0, 4.0))
                chaos.one()
            writer = chaos.finish()
            time.sleep(0.5)
        finally:
            chaos.worker.kill()
            summary = load.stop()
    # An index that is stale is so to the application as well, wherever its tenant is.
    if "stale vectors" not in chaos.done:
        assert summary.stale_reads == [], chaos.done
    for environment, name in ((writer, tenant), ("blue", "globex")):
        with box.items(environment) as items:
            report = check(tmp_path, box.dsn(environment), [name], items)
        assert report.ok, f"writer {writer}, faults {chaos.done}, {report.violations[:5]}"
        assert report.acknowledged > 0
