"""The section ``traffic`` of lifecycle.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenant_lifecycle import config
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.wiring.traffic import open_routers

BASE = """\
version: 1
environments:
  blue: {stores: {postgres: {kind: postgres, dsn: "host=a"}}}
  green: {stores: {postgres: {kind: postgres, dsn: "host=b"}}}
"""


def read(text: str, folder: Path = Path("/etc/tl")) -> config.Config:
    return config.loads(BASE + text, folder / "lifecycle.yaml", environ={"SECRET": "s3cret"})


def test_without_the_section_there_is_no_router() -> None:
    assert not open_routers(read(""))


def test_routers_of_every_kind_are_opened(tmp_path: Path) -> None:
    found = read(
        """\
state_folder: state
traffic:
  check: {window: 2s, minimum_reads: 50, requests_per_session: 3, stragglers: 1}
  routers:
    edge: {kind: envoy, routes: envoy/routes.json, admin: "http://127.0.0.1:1", targets: {blue: b, green: g}, timeout: 3s}
    lb: {kind: haproxy, map: /maps/routes.map, socket: run/admin.sock}
    dns: {kind: route53, zone: Z1, record: "{tenant}.example.com", targets: {blue: b.example.com, green: g.example.com},
          ttl: 30, read_only: true, secret_key: "${SECRET}", access_key: a}
""",
        tmp_path,
    )
    assert found.traffic.check.window_s == 2 and found.traffic.check.minimum_reads == 50
    assert found.traffic.routers["edge"].settings["routes"] == str(tmp_path / "envoy/routes.json")
    assert found.traffic.routers["lb"].settings["socket"] == str(tmp_path / "run/admin.sock")
    assert found.traffic.routers["lb"].targets == {"blue": "blue", "green": "green"}
    assert "s3cret" not in repr(found)
    routers = open_routers(found)
    assert {name: router.kind for name, router in routers.by_name.items()} == {
        "edge": "envoy", "lb": "haproxy", "dns": "route53",
    }  # fmt: skip
    routers.close()
    routers.close()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("routers: {a: {kind: nginx}}", "nginx"),
        ("routers: {a: {kind: envoy, admin: x}}", "'routes' is missing"),
        ("routers: {a: {kind: envoy, routes: x, admin: y, rotues: z}}", "did you mean 'routes'"),
        ("routers: {a: {kind: haproxy, map: x, socket: y, targets: {bleu: b}}}", "did you mean 'blue'"),
        ("routers: {a: {kind: haproxy, map: x, socket: y, targets: {blue: b, green: b}}}", "the same target"),
        ("routers: {a: {kind: route53, zone: Z, record: r}}", "'targets' is missing"),
        ("check: {window: soon}", "soon"),
        ("check: {minimum_reads: 0}", "too small"),
        ("gate: 1", "unknown key"),
    ],
)
def test_mistakes_are_named_with_their_place(section: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(f"traffic:\n  {section}\n")
    assert "lifecycle.yaml:6" in str(raised.value) and said in str(raised.value)
