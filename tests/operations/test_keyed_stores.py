"""A store without a change log under the same flip: the journal, the marker, the re-check, and every gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import psycopg
import pytest

from rig import TENANT
from sample_fixtures import SandboxPair
from tenant_lifecycle.client.gate import WriterGate
from tenant_lifecycle.model.keymap import Family, KeyMap, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepStatus
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.testing.memory import MemoryServer, MemoryStore
from tenant_lifecycle.wiring import Installation, Lifecycle

KEYS = KeyMap(
    {
        "docs": Family(Template.parse("docs/{tenant}/*")),
        "cache": Family(Template.parse("cache/{tenant}/*"), treatment=Treatment.SKIP),
    }
)
ENTER = "SELECT journaling, holder::text FROM tenant_lifecycle.enter(%s)"
TOUCH = "SELECT tenant_lifecycle.touch(%s, 'memory', %s, %s::xid8)"


@dataclass
class Application:
    """Writes the tenant's items in memory under the fence, as the client library does, and keeps a ledger."""

    pair: SandboxPair
    servers: Mapping[str, MemoryServer]
    dice: Random = field(default_factory=lambda: Random(1))
    acknowledged: dict[str, bytes | None] = field(default_factory=dict)
    writes: int = 0
    #: The write that took longest, seconds.
    longest_s: float = 0.0
    failed: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        gate = WriterGate(self.pair.dsns, "blue")
        journals = {name: psycopg.connect(dsn, autocommit=True) for name, dsn in self.pair.dsns.items()}
        try:
            while not self._stop.is_set():
                self.write(gate, journals)
                time.sleep(0.002)
        except BaseException as exc:
            self.failed.append(exc)
            raise
        finally:
            for conn in journals.values():
                conn.close()

    def write(self, gate: WriterGate, journals: Mapping[str, psycopg.Connection]) -> None:
        key = f"docs/{TENANT}/{self.dice.randrange(60)}"
        value = None if self.dice.random() < 0.3 else str(self.writes).encode()

        def block(conn: psycopg.Connection) -> None:
            where = next(name for name, dsn in self.pair.dsns.items() if conn.info.port == port_of(dsn))
            journaling, holder = False, None
            if conn.execute("SELECT to_regproc('tenant_lifecycle.enter')").fetchone() != (None,):
                journaling, holder = conn.execute(ENTER, (TENANT,)).fetchone() or (False, None)
            if journaling:
                journals[where].execute(TOUCH, (TENANT, [key.encode()], holder))
            items = self.servers[where].items
            if value is None:
                items.pop(key, None)
            else:
                items[key] = value

        began = time.monotonic()
        gate.run(TENANT, block)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.acknowledged[key] = value
        self.writes += 1

    def stop(self) -> None:
        self._stop.set()


T = TypeVar("T")


def until(look: Callable[[], T]) -> T:
    """What ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def port_of(dsn: str) -> int:
    return int(psycopg.conninfo.conninfo_to_dict(dsn)["port"] or 0)


@dataclass
class Keyed:
    """Two environments with a database and a memory store each."""

    pair: SandboxPair
    servers: dict[str, MemoryServer]
    lifecycle: Lifecycle

    def start(self, cutover: Cutover = Cutover.AUTO) -> str:
        return self.lifecycle.start_migration(
            TENANT, "blue", "green", MigrationOptions(cutover, 3600.0, 2), actor="test"
        )

    def wait(self, id: str, *keys: str) -> Operation:
        deadline = time.monotonic() + 120
        while True:
            operation = self.lifecycle.operation(id)
            done = {s.key for s in self.lifecycle.steps(id) if s.status is StepStatus.DONE}
            if operation.state in TERMINAL | {State.ATTENTION} or (keys and done.issuperset(keys)):
                return operation
            assert time.monotonic() < deadline, (operation.state, operation.why, done)
            time.sleep(0.02)

    def holds(self, environment: str, acknowledged: Mapping[str, bytes | None]) -> None:
        """The environment holds exactly what was acknowledged."""
        items = self.servers[environment].items
        wrong = {k: (v, items.get(k)) for k, v in acknowledged.items() if items.get(k) != v}
        assert wrong == {}

    def finish(self, id: str, signal: str) -> Operation:
        self.lifecycle.signal(id, signal, actor="test")
        return self.wait(id)


@pytest.fixture
def keyed(sandbox_pair: Callable[..., SandboxPair], tmp_path: Path) -> Iterator[Keyed]:
    pair = sandbox_pair(16, 18)
    servers = {name: MemoryServer() for name in pair.dsns}
    for n in range(60):
        servers["blue"].items[f"docs/{TENANT}/{n}"] = b"before"
        servers["blue"].items[f"docs/globex/{n}"] = b"neighbour"
    servers["green"].items["docs/contoso/1"] = b"resident"

    def open_stores(_: Sequence[str]) -> Mapping[str, Mapping[str, Store]]:
        return {
            name: {
                "postgres": PostgresStore(Database(f"{name}/postgres", name, dsn, pair.map)),
                "memory": MemoryStore(servers[name], name, "memory", KEYS),
            }
            for name, dsn in pair.dsns.items()
        }

    installation = Installation(
        control=tmp_path / "control.db", state_folder=tmp_path, open_stores=open_stores
    )
    with Lifecycle(installation) as lifecycle, lifecycle.runner():
        yield Keyed(pair, servers, lifecycle)


@pytest.fixture
def application(keyed: Keyed) -> Iterator[Application]:
    application = Application(keyed.pair, keyed.servers)
    thread = threading.Thread(target=application.run)
    thread.start()
    yield application
    application.stop()
    thread.join()
    assert not application.failed


def test_it_moves_back_and_forth_under_load_and_nothing_is_lost(
    keyed: Keyed, application: Application
) -> None:
    id = keyed.start()
    for turn, signal in enumerate(["rollback", "promote", "rollback", "promote"], start=1):
        assert keyed.wait(id, f"flip/{turn}").state is not State.ATTENTION
        time.sleep(0.3)
        keyed.lifecycle.signal(id, signal, actor="test")
    keyed.wait(id, "flip/5")
    time.sleep(0.2)
    application.stop()
    time.sleep(0.3)
    assert application.writes > 100
    keyed.holds("green", application.acknowledged)
    assert keyed.finish(id, "complete").state is State.SUCCEEDED
    keyed.holds("green", application.acknowledged)
    assert [k for k in keyed.servers["blue"].items if k.startswith(f"docs/{TENANT}/")] == []
    assert sum(k.startswith("docs/globex/") for k in keyed.servers["blue"].items) == 60
    assert keyed.servers["green"].items["docs/contoso/1"] == b"resident"


def test_an_abort_takes_the_copy_away_again(keyed: Keyed, application: Application) -> None:
    id = keyed.start(Cutover.MANUAL)
    keyed.wait(id, "verify")
    keyed.lifecycle.abort(id, actor="test")
    assert keyed.wait(id).state is State.ABORTED
    application.stop()
    time.sleep(0.2)
    keyed.holds("blue", application.acknowledged)
    assert list(keyed.servers["green"].items) == ["docs/contoso/1"]


@pytest.mark.parametrize("environment", ["blue", "green"])
def test_a_store_that_started_anew_is_verified_and_filled_again_before_a_flip(
    keyed: Keyed, application: Application, environment: str
) -> None:
    id = keyed.start(Cutover.MANUAL)
    keyed.wait(id, "verify")
    application.stop()
    time.sleep(0.3)
    expected = dict(keyed.servers["blue"].items)
    keyed.servers[environment].restart(keep=environment == "blue")
    keyed.lifecycle.signal(id, "promote", actor="test")
    assert keyed.wait(id, "flip/1").state is not State.ATTENTION
    mine = {k: v for k, v in keyed.servers["green"].items.items() if k.startswith(f"docs/{TENANT}/")}
    assert mine == {k: v for k, v in expected.items() if k.startswith(f"docs/{TENANT}/")}


def test_a_foreign_write_on_the_target_is_found_and_never_flipped_over(keyed: Keyed) -> None:
    id = keyed.start(Cutover.MANUAL)
    keyed.wait(id, "verify")
    report = keyed.lifecycle.verify(TENANT, "blue", "green")
    assert report.consistent
    keyed.servers["green"].items[f"docs/{TENANT}/7"] = b"foreign"
    report = keyed.lifecycle.verify(TENANT, "blue", "green")
    assert [(d.set, d.kind.value) for d in report.differences] == [("docs", "different")]


def test_a_store_that_is_away_is_waited_for(keyed: Keyed, application: Application) -> None:
    id = keyed.start(Cutover.MANUAL)
    keyed.wait(id, "verify")
    keyed.servers["green"].reachable = False
    time.sleep(1.0)
    keyed.lifecycle.signal(id, "promote", actor="test")
    time.sleep(1.0)
    assert keyed.lifecycle.home(TENANT) == "blue"
    keyed.servers["green"].reachable = True
    assert keyed.wait(id, "flip/1").state is not State.ATTENTION
    application.stop()
    time.sleep(0.3)
    keyed.holds("green", application.acknowledged)


def test_unmapped_keys_stop_a_move(keyed: Keyed) -> None:
    keyed.servers["blue"].items["somebody/else"] = b"?"
    plan = keyed.lifecycle.plan_migration(TenantId(TENANT), "blue", "green")
    assert "memory.unmapped" in [finding.code for finding in plan.refusals]


def test_a_plan_says_that_the_application_has_to_use_the_client(keyed: Keyed) -> None:
    plan = keyed.lifecycle.plan_migration(TenantId(TENANT), "blue", "green")
    said = [finding for finding in plan.findings if finding.code == "plan.client"]
    assert [finding.subject for finding in said] == ["blue/memory"]
    assert "docs/client.md" in said[0].next_step
    assert {store.store: store.how for store in plan.stores}["memory"].endswith("journal of touched keys")


def test_a_tenant_whose_keys_could_be_anothers_is_refused(keyed: Keyed) -> None:
    with psycopg.connect(keyed.pair.green) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(
            "INSERT INTO tenants (id, name, tier, plan) SELECT %s, name, tier, plan FROM tenants LIMIT 1",
            (f"{TENANT}/docs",),
        )
    plan = keyed.lifecycle.plan_migration(TenantId(TENANT), "blue", "green")
    (refusal,) = plan.refusals
    assert refusal.code == "memory.overlap" and "1 other tenant" in refusal.message
    assert f"{TENANT}/docs" not in refusal.message


def test_an_attempt_that_takes_too_long_is_given_up_and_writes_go_on(
    keyed: Keyed, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    compare = MemoryStore.compare_keys

    def compare_keys(store: MemoryStore, *what: Any) -> Any:
        time.sleep(1.5 if slow.is_set() else 0.0)
        return compare(store, *what)

    monkeypatch.setattr(MemoryStore, "compare_keys", compare_keys)
    id = keyed.start(Cutover.MANUAL)
    keyed.wait(id, "verify")
    slow.set()
    application.longest_s = 0.0
    keyed.lifecycle.signal(id, "promote", actor="test")
    # A writer in the middle of a transaction may be the reason of an attempt or two before.
    until(lambda: [e for e in keyed.lifecycle.events(id) if "did not settle in time" in str(e.detail)])
    assert keyed.lifecycle.home(TENANT) == "blue"
    assert application.longest_s < 1.0, "writers waited for the comparison"
    slow.clear()
    assert keyed.wait(id, "flip/1").state is not State.ATTENTION
    application.stop()
    time.sleep(0.3)
    keyed.holds("green", application.acknowledged)
