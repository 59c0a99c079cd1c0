"""What is HAProxy's own: the map's file, values, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_lifecycle.errors import StoreRejected, UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.sandbox.haproxy import haproxy_program
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.testing.router_contract import Client, route
from tenant_lifecycle.traffic.base import Route
from tenant_lifecycle.traffic.haproxy.entry import parse_lines, route_of, value_of
from tenant_lifecycle.traffic.haproxy.router import HAProxyRouter
from tenant_lifecycle.traffic.targets import Targets
from traffic.benches import TARGETS, HAProxyBench, running

needs_haproxy = pytest.mark.skipif(
    haproxy_program() is None, reason="no HAProxy on this machine; apt-get install haproxy"
)
T = TenantId("t")


@pytest.fixture(scope="module")
def bench(folder: Path, applications: NamedApplications) -> Iterator[HAProxyBench]:
    with running(HAProxyBench(folder, applications)) as bench:
        yield bench


@pytest.mark.parametrize("green", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("writer", ["blue", "green"])
def test_values_come_back(green: int, writer: str) -> None:
    asked = route(T, green, writer)
    assert route_of(T, value_of(asked, TARGETS), TARGETS) == asked


def test_three_environments_fit_in_a_value() -> None:
    targets = Targets({"a": "x", "b": "y", "c": "z"})
    asked = Route(T, "c", {"a": 20, "b": 30, "c": 50})
    assert value_of(asked, targets) == "z|x=20:y=50:z=100"
    assert route_of(T, value_of(asked, targets), targets) == asked


@pytest.mark.parametrize(
    "value",
    [None, "", "blue", "blue|", "blue|blue=90", "red|blue=100", "blue|red=100", "blue|blue=100:green=50",
     "blue|green=10:blue=100", "blue|blue=0:green=100", "blue|blue=+100", " blue|blue=100", "blue|blue=1000"],
)  # fmt: skip
def test_values_that_we_would_not_write_are_no_routes(value: str | None) -> None:
    assert route_of(T, value, TARGETS) is None


def test_backends_that_a_value_cannot_carry_are_refused(tmp_path: Path) -> None:
    for wrong in ("a|b", "a b", "a=b", "", "a;b"):
        with pytest.raises(UsageError):
            HAProxyRouter("r", map_file=tmp_path / "m", socket="x", targets={"blue": wrong, "green": "g"})


def test_of_equal_keys_the_first_counts_as_it_does_for_haproxy() -> None:
    assert parse_lines(["# said", "", "a blue|blue=100", "a green|green=100", "b x"]) == {
        "a": "blue|blue=100",
        "b": "x",
    }


@needs_haproxy
def test_a_doubled_entry_by_hand_is_seen_and_mended(bench: HAProxyBench) -> None:
    asked = route("doubled", 10)
    bench.router.set_route(asked)
    bench.router.runtime._tell(f"add map {bench.server.map_file} doubled green|green=100")
    bench.router.set_route(route("doubled", 20))
    client = Client(bench.address)
    assert client.ask("doubled", method="POST") == "blue"
    bench.router.clear_route(asked.tenant)
    assert bench.router.actual(asked.tenant) is None
    client.close()


@needs_haproxy
def test_what_the_operator_keeps_in_the_map_stays(bench: HAProxyBench) -> None:
    bench.server.map_file.write_text("theirs somewhere\n")
    bench.router.set_route(route("beside", 10))
    assert "theirs somewhere" in bench.files().decode()
    assert bench.router.actual(TenantId("theirs")) is None
    bench.router.clear_route(TenantId("beside"))


@needs_haproxy
def test_a_map_edited_only_in_its_file_is_drift(bench: HAProxyBench) -> None:
    from tenant_lifecycle.traffic.drift import config_drift

    asked = route("file only", 10)
    bench.router.set_route(asked)
    bench.server.map_file.write_text(bench.files().decode().replace("blue=90", "blue=80"))
    look = [ask(asked.tenant) for ask in (bench.router.intended, bench.router.written, bench.router.actual)]
    assert look == [asked, route("file only", 20), asked]
    assert [f.code for f in config_drift("r", *look)] == ["traffic.drift-config"]
    bench.router.set_route(asked)
    assert bench.router.written(asked.tenant) == asked


@needs_haproxy
def test_a_map_that_haproxy_does_not_follow_is_refused(bench: HAProxyBench, tmp_path: Path) -> None:
    (tmp_path / "other.map").touch()
    lost = HAProxyRouter(
        "lost", map_file=tmp_path / "other.map", socket=bench.server.socket, targets=TARGETS.by_environment
    )
    with pytest.raises(StoreRejected, match="Unknown map"):
        lost.set_route(route("lost", 10))
    assert [finding.code for finding in lost.probe()] == ["traffic.not-followed"]
    assert [finding.code for finding in bench.router.probe()] == ["traffic.reachable"]
    missing = HAProxyRouter(
        "m", map_file=tmp_path / "none.map", socket=bench.server.socket, targets=TARGETS.by_environment
    )
    with pytest.raises(StoreRejected, match="is not there"):
        missing.set_route(route("lost", 10))
