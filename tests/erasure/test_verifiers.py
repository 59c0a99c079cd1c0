"""The verifier's credentials: opened beside the eraser's, and judged by doctor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from memory_bench import MemoryErasingBench

from tenant_lifecycle import config
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.findings import Severity
from tenant_lifecycle.testing.erasing_contract import CONTROL, fill
from tenant_lifecycle.testing.memory import MemoryStore
from tenant_lifecycle.wiring.installation import Installation, Stores, installation
from tenant_lifecycle.wiring.verifiers import verifier_findings


class NamedMemory(MemoryErasingBench):
    @property
    def stores(self) -> Stores:
        return {"blue": {"memory": self.eraser}}

    def installation(self, control: str = CONTROL, own: bool = True) -> Installation:
        return Installation(
            control=":memory:", state_folder=Path("/nowhere"), open_stores=lambda _: self.stores,
            erasure=ErasurePolicy(control_tenant=control),
            open_verifiers=lambda: {"blue": {"memory": self.verifier}},
            own_credentials=frozenset({"blue/memory"} if own else ()),
        )  # fmt: skip

    def codes(self, installation: Installation) -> dict[str, Severity]:
        return {one.code: one.severity for one in verifier_findings(installation, self.stores)}


@pytest.fixture
def bench() -> NamedMemory:
    bench = NamedMemory()
    fill(bench)
    return bench


def test_separate_credentials_and_a_control_are_in_order(bench: NamedMemory) -> None:
    assert set(bench.codes(bench.installation()).values()) == {Severity.OK}


def test_shared_credentials_are_a_warning(bench: NamedMemory) -> None:
    assert bench.codes(bench.installation(own=False))["erase.same-credentials"] is Severity.WARNING


def test_no_control_or_one_that_is_not_there_is_a_warning(bench: NamedMemory) -> None:
    assert bench.codes(bench.installation(control=""))["erase.no-control"] is Severity.WARNING
    assert bench.codes(bench.installation(control="nobody"))["erase.control-missing"] is Severity.WARNING


def test_credentials_that_see_too_little_are_refused(bench: NamedMemory) -> None:
    bench.verifier.may_read = frozenset({"items"})
    assert bench.codes(bench.installation())["memory.verifier"] is Severity.REFUSAL


def test_a_store_that_nothing_can_search_is_named(bench: NamedMemory) -> None:
    plain = MemoryStore(bench.server, "blue", "memory", bench.verifier._key_map)
    installation = replace(bench.installation(), open_verifiers=lambda: {"blue": {"memory": plain}})
    assert bench.codes(installation)["erase.unsearchable"] is Severity.WARNING


def test_nothing_is_said_where_nobody_erases(bench: NamedMemory) -> None:
    assert verifier_findings(bench.installation(control="", own=False), bench.stores) == []


def test_verifiers_are_opened_with_what_verify_changes(tmp_path: Path) -> None:
    (tmp_path / "ownership.yaml").write_text(
        "version: 1\npostgres: {tables: {tenants: {rule: root, column: id}}}\nstores: {cache: {families: {docs: {template: 'docs/{tenant}/*'}}}}\n"
    )
    (tmp_path / "lifecycle.yaml").write_text(
        "version: 1\nenvironments: {blue: {stores: {cache: {kind: redis, url: 'redis://app@127.0.0.1:1/0',"
        " verify: {url: 'redis://verifier@127.0.0.1:1/0'}}}}}\n"
    )
    found = installation(config.load(tmp_path / "lifecycle.yaml"))
    assert found.own_credentials == {"blue/cache"}
    users = [
        opened["blue"]["cache"].server.wire.url for opened in (found.open_stores(()), found.open_verifiers())
    ]
    assert users == ["redis://app@127.0.0.1:1/0", "redis://verifier@127.0.0.1:1/0"]
