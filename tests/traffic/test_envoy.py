"""What is Envoy's own: the operator's routes, forged names, refusals, and its health source."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.testing.router_contract import Client, route
from tenant_lifecycle.traffic.envoy.counters import NAME_HEADER, Bin, Timed, tree_name
from tenant_lifecycle.traffic.envoy.health import EnvoyHealth
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from traffic.benches import EnvoyBench, running, wait_for


@pytest.fixture(scope="module")
def bench(folder: Path, applications: NamedApplications) -> Iterator[EnvoyBench]:
    with running(EnvoyBench(folder, applications)) as bench:
        yield bench


@pytest.fixture
def client(bench: EnvoyBench) -> Iterator[Client]:
    client = Client(bench.address)
    yield client
    client.close()


def routes_in(bench: EnvoyBench) -> list[dict[str, object]]:
    document = json.loads(bench.files())
    routes: list[dict[str, object]] = document["resources"][0]["virtual_hosts"][0]["routes"]
    return routes


def write_routes(bench: EnvoyBench, routes: list[dict[str, object]]) -> None:
    document = json.loads(bench.files())
    document["resources"][0]["virtual_hosts"][0]["routes"] = routes
    document["version_info"] = f"by hand {len(bench.files())}"
    half = bench.server.routes.with_suffix(".hand")
    half.write_text(json.dumps(document))
    half.replace(bench.server.routes)
    wait_for(lambda: bench.router._running() == document["version_info"])


def test_a_healthy_envoy_has_nothing_to_mend(bench: EnvoyBench) -> None:
    assert [finding.code for finding in bench.router.probe()] == ["traffic.reachable"]


def test_the_operators_routes_stay_behind_ours_and_lend_their_settings(bench: EnvoyBench) -> None:
    def operators() -> list[Any]:
        """Those that no test has put there: other tests' tenants may still have theirs."""
        return [e for e in routes_in(bench) if not str(e.get("name")).startswith("tenant-lifecycle/")]

    before = operators()
    bench.router.set_route(route("lent", 10))
    after = routes_in(bench)
    assert after[-len(before) :] == before
    mine = [entry for entry in after if "/lent/" in str(entry.get("name"))]
    assert len(mine) == 3
    writes, reads = before[-2]["route"], before[-1]["route"]
    for entry, lender in zip(mine, (writes, writes, reads), strict=True):
        assert entry["route"]["timeout"] == lender["timeout"]  # type: ignore[index]
        assert entry["route"]["retry_policy"] == lender["retry_policy"]  # type: ignore[index]
    assert writes != reads
    bench.router.clear_route(TenantId("lent"))
    assert operators() == before
    assert not any("/lent/" in str(entry.get("name")) for entry in routes_in(bench))


def test_a_route_put_before_ours_by_hand_is_seen(bench: EnvoyBench, client: Client) -> None:
    asked = route("hidden", 0)
    bench.router.set_route(asked)
    foreign: dict[str, object] = {"name": "theirs", "match": {"prefix": "/"}, "route": {"cluster": "green"}}
    write_routes(bench, [foreign, *routes_in(bench)])
    assert client.ask("hidden") == "green"
    assert bench.router.actual(asked.tenant) is None
    write_routes(bench, routes_in(bench)[1:])
    assert bench.router.actual(asked.tenant) == asked


def test_an_entry_altered_by_hand_is_no_route_of_ours(bench: EnvoyBench) -> None:
    asked = route("altered", 50)
    bench.router.set_route(asked)
    whole = routes_in(bench)
    place = next(n for n, entry in enumerate(whole) if "/altered/" in str(entry.get("name")))
    for key, value in (("match", {"prefix": "/x"}), ("route", {"cluster": "green"})):
        changed = json.loads(json.dumps(whole))
        changed[place + 2][key] = value
        write_routes(bench, changed)
        assert bench.router.actual(asked.tenant) != asked
    random = json.loads(json.dumps(whole))
    random[place + 2]["route"]["weighted_clusters"].pop("use_hash_policy")
    write_routes(bench, random)
    assert bench.router.actual(asked.tenant) is None
    bench.router.set_route(asked)
    assert bench.router.actual(asked.tenant) == asked


def test_a_cluster_that_envoy_does_not_know_is_refused(bench: EnvoyBench) -> None:
    wrong = EnvoyRouter(
        "wrong",
        routes=bench.server.routes,
        admin=bench.server.admin,
        targets={"blue": "blue", "green": "gone"},
        route_config="tenant_routes",
    )
    before = bench.files()
    with pytest.raises(StoreRejected, match="no cluster 'gone'"):
        wrong.set_route(route("refused", 100))
    assert bench.files() == before
    assert wrong.intended(TenantId("refused")) is None
    wrong.set_route(route("refused", 0))
    wrong.clear_route(TenantId("refused"))


def test_a_route_that_envoy_refuses_is_taken_out_of_the_file_again(bench: EnvoyBench) -> None:
    bench.router.set_route(route("before", 10))
    good = routes_in(bench)
    bad = json.loads(json.dumps(good))
    bad[-1]["route"]["timeout"] = "soon"
    document = json.loads(bench.files())
    document["resources"][0]["virtual_hosts"][0]["routes"] = bad
    half = bench.server.routes.with_suffix(".hand")
    half.write_text(json.dumps(document))
    half.replace(bench.server.routes)
    with pytest.raises(StoreRejected, match="refused version"):
        bench.router.set_route(route("after", 10))
    assert routes_in(bench) == bad
    assert bench.router.intended(TenantId("after")) is None
    assert bench.router.actual(TenantId("before")) == route("before", 10)
    write_routes(bench, good)
    bench.router.set_route(route("after", 10))


def test_an_envoy_that_does_not_load_the_file_is_unavailable(bench: EnvoyBench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "routes.json"
    elsewhere.write_bytes(bench.files())
    lost = EnvoyRouter(
        "lost",
        routes=elsewhere,
        admin=bench.server.admin,
        targets={"blue": "blue", "green": "green"},
        timeout_s=0.3,
    )
    with pytest.raises(StoreUnavailable, match="has not loaded"):
        lost.set_route(route("lost", 10))
    assert [finding.code for finding in lost.probe()] == ["traffic.not-loaded"]


@pytest.mark.parametrize(
    "text", [None, "", "not json", "[]", '{"resources": []}', '{"resources": [{"name": 1}]}']
)
def test_a_file_that_is_no_route_configuration_is_left_alone(
    bench: EnvoyBench, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "routes.json"
    if text is not None:
        file.write_text(text)
    router = EnvoyRouter(
        "r", routes=file, admin=bench.server.admin, targets={"blue": "blue", "green": "green"}
    )
    with pytest.raises(StoreRejected):
        router.set_route(route("t", 10))
    assert (file.read_text() if file.exists() else None) == text
    assert [finding.code for finding in router.probe()] == ["traffic.file"]


def test_a_client_cannot_choose_where_it_is_counted(bench: EnvoyBench, client: Client) -> None:
    bench.router.set_route(route("victim", 0))
    client.ask("victim")
    before = bench.router.served(TenantId("victim"))
    # Envoy itself drops such headers of strangers; the filter drops those of whom a listener takes for internal.
    for inside in ({}, {"x-forwarded-for": "10.0.0.1"}):
        forged = {NAME_HEADER: tree_name(TenantId("victim"), "r")}
        client.ask("nobody at all", headers=forged | inside)
        client.ask("victim", headers={NAME_HEADER: "tl_other_r"} | inside)
    after = bench.router.served(TenantId("victim"))
    assert after["blue"].requests == before["blue"].requests + 2
    assert bench.router.admin.stats("tl_other") == []


_WRITER = """
import sys
from pathlib import Path
from tenant_lifecycle.traffic.envoy.router import EnvoyRouter
from tenant_lifecycle.traffic.base import Route
router = EnvoyRouter("p", routes=Path(sys.argv[1]), admin=sys.argv[2], targets={"blue": "blue", "green": "green"})
for n in range(8):
    router.set_route(Route(f"{sys.argv[3]} {n}", "blue", {"blue": 60, "green": 40}))
"""


def test_two_processes_lose_no_route(bench: EnvoyBench) -> None:
    command = [sys.executable, "-c", _WRITER, str(bench.server.routes), bench.server.admin]
    writers = [subprocess.Popen([*command, name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for name in (f"{name} {n}" for name in ("one", "two") for n in range(8)):
        assert bench.router.actual(TenantId(name)) == route(name, 40)


def test_an_application_that_restarts_fails_no_read(bench: EnvoyBench) -> None:
    bench.router.set_route(route("restarted", 100, "green"))
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def load() -> None:
        client = Client(bench.address)
        while not stop.is_set():
            answers[client.ask("restarted", path="/slow" if sum(answers.values()) % 2 else "/")] += 1
        client.close()

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(load)
        try:
            for _ in range(3):
                time.sleep(0.2)
                bench.applications.refuse("green")
                time.sleep(0.1)
                bench.applications.accept("green")
        finally:
            stop.set()
        job.result()
    assert set(answers) == {"green"}


# -- health


def test_health_is_what_came_between_two_looks(bench: EnvoyBench, client: Client) -> None:
    tenant = TenantId("healthy")
    bench.router.set_route(route(tenant, 100))
    wait_for(lambda: client.ask(tenant) == "green")
    moment = [0.0]
    source = EnvoyHealth(bench.router, clock=lambda: moment[0])
    first = source.health(tenant, "green", 10)
    assert (first.requests, first.errors, first.p99_ms) == (0, 0, None)
    for n in range(100):
        client.ask(tenant, path="/fail" if n % 20 == 0 else "/")
    for _ in range(5):
        client.ask(tenant, path="/slow")
    timed = EnvoyHealth(bench.router)
    wait_for(lambda: timed._look(tenant, "green").timed.total >= 106)
    moment[0] = 10.0
    health = source.health(tenant, "green", 10)
    assert (health.requests, health.errors) == (105, 5)
    assert health.p99_ms is not None and health.p99_ms >= 45
    assert health.detail["p50_ms"] < health.p99_ms
    assert health.detail["window_s"] == 10
    assert source.health(tenant, "blue", 10).requests == 0
    moment[0] = 20.0
    assert source.health(tenant, "green", 10).requests == 0
    assert source.health(tenant, "green", 20).requests == 105
    moment[0] = 21.0
    assert source.health(tenant, "green", 15).requests == 105


def test_health_does_not_mix_two_lives_of_envoy(bench: EnvoyBench) -> None:
    tenant = TenantId("two lives")
    bench.router.set_route(route(tenant, 100))
    source = EnvoyHealth(bench.router)
    client = Client(bench.address)
    wait_for(lambda: client.ask(tenant) == "green")
    for _ in range(50):
        client.ask(tenant)
    source.health(tenant, "green", 60)
    client.close()
    bench.kill()
    with pytest.raises(StoreUnavailable):
        source.health(tenant, "green", 60)
    bench.start()
    client = Client(bench.address)
    client.ask(tenant)
    assert source.health(tenant, "green", 60).requests == 0
    client.ask(tenant)
    assert source.health(tenant, "green", 60).requests == 1
    client.close()


def test_quantiles_are_within_a_bin() -> None:
    timed = Timed({Bin(1, 0.1): 98, Bin(50, 1.0): 2})
    assert timed.quantile(0.5) is not None and 1 <= timed.quantile(0.5) <= 1.1  # type: ignore[operator]
    assert timed.quantile(0.99) == 50.5
    assert Timed().quantile(0.99) is None
    later = Timed({Bin(1, 0.1): 98, Bin(50, 1.0): 3, Bin(9, 0.1): 1})
    assert later.since(timed).counts == {Bin(50, 1.0): 1, Bin(9, 0.1): 1}
