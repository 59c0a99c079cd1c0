"""``tenantctl traffic`` in front of a real Envoy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripted import Ran
from tenant_lifecycle.cli import main
from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.testing.applications import NamedApplications
from tenant_lifecycle.testing.router_contract import Client, route
from tenant_lifecycle.traffic.routers import Routers
from traffic.benches import EnvoyBench, running, wait_for

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def bench(folder: Path, applications: NamedApplications) -> Iterator[EnvoyBench]:
    with running(EnvoyBench(folder, applications)) as bench:
        yield bench


@pytest.fixture
def run(bench: EnvoyBench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    file = tmp_path / "lifecycle.yaml"
    file.write_text(
        f"""\
version: 1
environments:
  blue: {{stores: {{postgres: {{kind: postgres, dsn: "host=127.0.0.1 port=9"}}}}}}
  green: {{stores: {{postgres: {{kind: postgres, dsn: "host=127.0.0.1 port=9"}}}}}}
traffic:
  routers:
    edge: {{kind: envoy, routes: {json.dumps(str(bench.server.routes))}, admin: "{bench.server.admin}"}}
"""
    )

    def run_line(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(["--config", str(file), *arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run_line


def test_set_get_check_and_clear(run: Run, bench: EnvoyBench) -> None:
    share = {"blue": 90, "green": 10}
    done = run("traffic", "set", "a;b", "--writer", "blue", "--share", "blue=90,green=10", "--json")
    assert done.code == 0
    assert done.json["routers"][0]["actual"] == {"writer": "blue", "share": share}
    assert (
        "Next: tenantctl traffic check"
        in run("traffic", "set", "a;b", "--writer", "blue", "--share", "blue=90,green=10").err
    )
    got = run("traffic", "get", "a;b", "--json").json["routers"][0]
    assert got["intended"] == got["written"] == got["actual"] == {"writer": "blue", "share": share}
    assert "writer blue, blue 90 %, green 10 %" in run("traffic", "get", "a;b").out
    checked = run("traffic", "check", "a;b", "--window", "100ms", "--json")
    assert checked.code == 0 and checked.json["ok"]
    assert checked.json["checks"][0]["findings"][0]["code"] == "traffic.not-judged"
    assert run("traffic", "check", "--window", "0s").code == 0
    assert run("traffic", "clear", "a;b").code == 0
    assert run("traffic", "get", "a;b", "--json").json["routers"][0]["actual"] is None


def test_drift_has_an_exit_code_of_its_own(run: Run, bench: EnvoyBench) -> None:
    bench.router.set_route(route("drifting", 10))
    bench.tamper(route("drifting", 100))
    found = run("traffic", "check", "--window", "0s", "--json")
    assert found.code == 9 and not found.json["ok"]
    mine = next(one for one in found.json["checks"] if one["tenant"] == "drifting")
    assert mine["findings"][0]["code"] == "traffic.drift-config"
    assert "green 100 %" in run("traffic", "check", "drifting", "--window", "0s").out
    assert run("traffic", "set", "drifting", "--writer", "blue", "--share", "blue=90,green=10").code == 0
    assert run("traffic", "check", "drifting", "--window", "0s").code == 0


@pytest.mark.parametrize(
    ("share", "said"),
    [("blue=90", "100"), ("blue", "is not like"), ("blue=50,blue=50", "is not like"), ("blue=-1,green=101", "is not like"),
     ("blue=50,red=50", "no environment 'red'"), ("", "is not like")],
)  # fmt: skip
def test_shares_that_cannot_be_are_refused(run: Run, share: str, said: str) -> None:
    done = run("traffic", "set", "t", "--writer", "blue", "--share", share, "--json")
    assert done.code == 2 and said in done.error["message"]


def test_a_router_that_is_down_is_said(run: Run, bench: EnvoyBench) -> None:
    bench.router.set_route(route("down", 0))
    bench.kill()
    try:
        assert run("traffic", "check", "down", "--window", "0s").code == 12
        got = run("traffic", "get", "down", "--json")
        assert got.code == 12 and got.json["routers"][0]["intended"] == {
            "writer": "blue",
            "share": {"blue": 100},
        }
        done = run("traffic", "set", "down", "--writer", "green", "--share", "green=100", "--json")
        assert done.code == 12 and done.error["retryable"]
    finally:
        bench.start()
    client = Client(bench.address)
    wait_for(lambda: client.ask("down") == "green")
    client.close()


def test_without_a_router_it_says_how_to_add_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lifecycle.yaml"
    file.write_text('version: 1\nenvironments: {blue: {stores: {postgres: {kind: postgres, dsn: "x"}}}}\n')
    assert main(["--config", str(file), "traffic", "check"]) == 2
    assert "names no router" in capsys.readouterr().err


def test_a_dead_router_does_not_keep_the_route_from_the_others(bench: EnvoyBench, tmp_path: Path) -> None:
    copy = tmp_path / "routes.json"
    copy.write_bytes(bench.files())
    from tenant_lifecycle.traffic.envoy.router import EnvoyRouter

    dead = EnvoyRouter(
        "dead", routes=copy, admin="http://127.0.0.1:9", targets={"blue": "blue", "green": "green"}
    )
    routers = Routers({"dead": dead, "edge": bench.router})
    asked = route("both", 100, "green")
    with pytest.raises(StoreUnavailable, match="dead"):
        routers.set_route(asked)
    assert bench.router.actual(asked.tenant) == asked
    assert dead.written(asked.tenant) == asked
    assert {f.code for f in routers.probe()} == {"traffic.unreachable", "traffic.reachable"}
