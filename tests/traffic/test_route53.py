"""Weighted records in an emulated zone (moto's server, which is not the product)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from tenant_lifecycle.errors import StoreRejected, StoreUnavailable, UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.traffic_check import check_traffic
from tenant_lifecycle.testing.router_contract import route
from tenant_lifecycle.traffic.drift import CheckRules
from tenant_lifecycle.traffic.route53 import Route53Router, open_client

TARGETS = {"blue": "blue.example.com", "green": "green.example.com"}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    client = open_client({"endpoint": f"http://{host}:{port}", "access_key": "a", "secret_key": "b"})
    yield client
    client.close()
    server.stop()


@pytest.fixture
def zone(client: Any) -> str:
    made = client.create_hosted_zone(Name="example.com", CallerReference=str(id(object())))
    return str(made["HostedZone"]["Id"])


def router(client: Any, zone: str, folder: Path, **changes: Any) -> Route53Router:
    given = {"record": "{tenant}.example.com", "targets": TARGETS, **changes}
    return Route53Router("names", client=client, zone=zone, intents=folder / "intended", **given)


def weights(client: Any, zone: str, host: str) -> dict[str, int]:
    found = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {r["SetIdentifier"].rpartition("/")[2]: r["Weight"] for r in found if r["Name"] == host}


def test_all_or_nothing_moves_the_weights(client: Any, zone: str, tmp_path: Path) -> None:
    names = router(client, zone, tmp_path)
    for writer, green in (("blue", 0), ("green", 100), ("blue", 0)):
        asked = route("acme", green, writer)
        names.set_route(asked)
        names.set_route(asked)
        assert weights(client, zone, "acme.example.com.") == {"blue": 100 - green, "green": green}
        assert (
            names.intended(asked.tenant) == names.written(asked.tenant) == names.actual(asked.tenant) == asked
        )
    assert names.routed() == ["acme"] and names.served(TenantId("acme")) == {}
    assert names.actual(TenantId("acm")) is None
    names.clear_route(TenantId("acme"))
    names.clear_route(TenantId("acme"))
    assert weights(client, zone, "acme.example.com.") == {}


def test_shares_and_other_writers_are_refused_where_writes_are_served(
    client: Any, zone: str, tmp_path: Path
) -> None:
    names = router(client, zone, tmp_path)
    for wrong in (route("acme", 10), route("acme", 100, "blue"), route("acme", 0, "green")):
        with pytest.raises(UsageError, match="cannot tell writes from reads"):
            names.set_route(wrong)
    assert names.intended(TenantId("acme")) is None
    assert weights(client, zone, "acme.example.com.") == {}


def test_a_name_that_serves_no_writes_may_be_shared(client: Any, zone: str, tmp_path: Path) -> None:
    names = router(client, zone, tmp_path, read_only=True)
    asked = route("acme", 25)
    names.set_route(asked)
    assert weights(client, zone, "acme.example.com.") == {"blue": 75, "green": 25}
    assert names.actual(asked.tenant) == asked


def test_a_record_changed_by_hand_is_drift_and_nothing_is_claimed_of_counts(
    client: Any, zone: str, tmp_path: Path
) -> None:
    names = router(client, zone, tmp_path)
    asked = route("acme", 0)
    names.set_route(asked)
    rules = CheckRules(window_s=0.01)
    (checked,) = check_traffic([names], None, rules)
    assert [f.code for f in checked.findings] == ["traffic.not-judged"]
    assert "does not count" in checked.findings[0].message
    record = {
        "Name": "acme.example.com.", "Type": "CNAME", "SetIdentifier": "tenant-lifecycle/green", "Weight": 5, "TTL": 60,
        "ResourceRecords": [{"Value": "green.example.com"}],
    }  # fmt: skip
    client.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    )
    (checked,) = check_traffic([names], None, rules)
    assert "traffic.drift-config" in {f.code for f in checked.findings}
    names.set_route(asked)
    assert names.actual(asked.tenant) == asked


@pytest.mark.parametrize("tenant", ["Acme", "a.b", "a b", "-a", "a-", "a" * 64, "*", "é", "a\n"])
def test_ids_that_no_host_name_can_carry_are_refused(
    client: Any, zone: str, tmp_path: Path, tenant: str
) -> None:
    with pytest.raises(UsageError, match="cannot stand in a host name"):
        router(client, zone, tmp_path).set_route(route(tenant, 0))


def test_no_zone_and_no_answer_are_told_apart(client: Any, zone: str, tmp_path: Path) -> None:
    lost = router(client, "Z0NONE", tmp_path)
    with pytest.raises(StoreRejected):
        lost.set_route(route("acme", 0))
    assert [f.code for f in lost.probe()] == ["traffic.refused"]
    silent = open_client({"endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "b"})
    with pytest.raises(StoreUnavailable):
        router(silent, zone, tmp_path).set_route(route("acme", 0))
    silent.close()
    assert [f.code for f in router(client, zone, tmp_path).probe()] == ["traffic.reachable"]
