"""Applications that do not use the client: a real Redis followed by its notifications, or compared again and again."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from rig import TENANT
from sample_fixtures import SandboxPair
from tenant_lifecycle.model.changes import Changes
from tenant_lifecycle.model.keymap import Family, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State, StepStatus
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.model.policy import MigrationOptions
from tenant_lifecycle.model.strategy import Strategy
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.operations import survey_follower
from tenant_lifecycle.sandbox.redis import RedisServer, program
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.stores.redis.store import RedisStore
from tenant_lifecycle.wiring import Installation, Lifecycle

KEYS = KeyMap({"answers": Family(Template.parse("answer:{tenant}:*"))})
NEIGHBOUR = "answer:globex:1"


@pytest.fixture
def servers() -> Iterator[dict[str, RedisServer]]:
    if program() is None:
        pytest.skip("no Redis server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="tenant-lifecycle-survey-"))
    made = {name: RedisServer(folder / name, notify="KA") for name in ("blue", "green")}
    try:
        for server in made.values():
            server.start()
        yield made
    finally:
        for server in made.values():
            server.remove()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Writer:
    """Writes the tenant's keys straight into one Redis, asks no fence, and enters nothing."""

    db: redis.Redis
    state: dict[str, str | None] = field(default_factory=dict)
    writes: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(3))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Writer:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            key = f"answer:{TENANT}:{self._dice.randrange(200)}"
            self.writes += 1
            if self._dice.random() < 0.3:
                self.db.delete(key)
                self.state[key] = None
            else:
                self.db.set(key, self.writes)
                self.state[key] = str(self.writes)


class Followed:
    """Two environments with a PostgreSQL and a Redis each."""

    def __init__(
        self, pair: SandboxPair, servers: Mapping[str, RedisServer], folder: Path, changes: Changes
    ) -> None:
        self.servers = servers
        self.dbs = {name: redis.Redis.from_url(server.url()) for name, server in servers.items()}
        ownership = OwnershipMap(keys={"redis": KEYS})

        def open_stores(_: object):
            return {
                name: {
                    "postgres": PostgresStore(Database(f"{name}/postgres", name, dsn, pair.map)),
                    "redis": RedisStore.from_config(
                        name="redis",
                        environment=name,
                        settings={"url": servers[name].url()},
                        ownership=ownership,
                        ids=None,
                    ),
                }
                for name, dsn in pair.dsns.items()
            }

        self.lifecycle = Lifecycle(
            Installation(
                control=folder / "control.db",
                state_folder=folder,
                open_stores=open_stores,
                changes={"redis": changes},
            )
        )
        for number in range(500):
            self.dbs["blue"].set(f"answer:{TENANT}:{number}", "before")
        self.dbs["blue"].set(NEIGHBOUR, "theirs")

    def start(self, **options: object) -> str:
        chosen = MigrationOptions(settle_s=3600.0, workers=2, **options)
        return self.lifecycle.start_migration(TENANT, "blue", "green", chosen, actor="test")

    def wait(self, id: str, *keys: str) -> Operation:
        deadline = time.monotonic() + 90
        while True:
            operation = self.lifecycle.operation(id)
            done = {s.key for s in self.lifecycle.steps(id) if s.status is StepStatus.DONE}
            if operation.state in TERMINAL | {State.ATTENTION} or (keys and done.issuperset(keys)):
                return operation
            assert time.monotonic() < deadline, (operation.state, operation.why, done)
            time.sleep(0.02)

    def flipped(self, id: str, turn: int) -> None:
        operation = self.wait(id, f"flip/{turn}")
        assert operation.state is not State.ATTENTION and not operation.terminal, operation.error

    def keys(self, environment: str) -> dict[str, str]:
        db = self.dbs[environment]
        names = list(db.scan_iter(f"answer:{TENANT}:*"))
        return {name.decode(): (db.get(name) or b"").decode() for name in names}

    def becomes_equal(self) -> None:
        deadline = time.monotonic() + 15
        while self.keys("blue") != self.keys("green"):
            assert time.monotonic() < deadline, set(self.keys("blue").items()) ^ set(
                self.keys("green").items()
            )
            time.sleep(0.1)


@pytest.fixture
def follow(
    sandbox_pair: Callable[..., SandboxPair], servers: dict[str, RedisServer], tmp_path: Path
) -> Iterator[Callable[[Changes], Followed]]:
    made: list[Followed] = []

    def make(changes: Changes) -> Followed:
        made.append(Followed(sandbox_pair(16, 18), servers, tmp_path, changes))
        return made[-1]

    yield make
    for one in made:
        one.lifecycle.close()


@pytest.mark.parametrize("changes", [Changes.HINTS, Changes.RECONCILE])
def test_a_writer_that_ignores_the_client_is_carried_over_there_and_back(
    follow: Callable[[Changes], Followed], changes: Changes
) -> None:
    followed = follow(changes)
    with followed.lifecycle.runner():
        with Writer(followed.dbs["blue"]) as writer:
            id = followed.start(cutover=Cutover.MANUAL)
            followed.wait(id, "verify")
        assert writer.writes > 50
        followed.lifecycle.signal(id, "promote", actor="test")
        followed.flipped(id, 1)
        green = followed.keys("green")
        assert {k: v for k, v in writer.state.items() if green.get(k) != v} == {}
        with Writer(followed.dbs["green"]) as there:
            time.sleep(1.0)
        followed.lifecycle.signal(id, "rollback", actor="test")
        followed.flipped(id, 2)
        blue = followed.keys("blue")
        assert {k: v for k, v in there.state.items() if blue.get(k) != v} == {}
        followed.becomes_equal()
    assert followed.dbs["blue"].get(NEIGHBOUR) == b"theirs" and followed.dbs["green"].get(NEIGHBOUR) is None


@pytest.mark.parametrize("changes", [Changes.HINTS, Changes.RECONCILE])
def test_the_way_back_never_undoes_what_the_source_writes(
    follow: Callable[[Changes], Followed], changes: Changes
) -> None:
    followed = follow(changes)
    with followed.lifecycle.runner(), Writer(followed.dbs["blue"]) as writer:
        id = followed.start(cutover=Cutover.MANUAL)
        followed.wait(id, "verify")
        time.sleep(2.0)
        writer.__exit__()
        blue = followed.keys("blue")
        assert {k: v for k, v in writer.state.items() if blue.get(k) != v} == {}
        followed.becomes_equal()


def test_notifications_that_are_lost_force_a_new_full_verification_before_a_flip(
    follow: Callable[[Changes], Followed],
) -> None:
    followed = follow(Changes.HINTS)
    blue = followed.dbs["blue"]
    with followed.lifecycle.runner():
        id = followed.start(cutover=Cutover.MANUAL)
        followed.wait(id, "verify")
        followed.becomes_equal()
        for round_ in range(3):
            # The listener is cut off, and at once so much is written that it must miss something.
            pipe = blue.pipeline(transaction=True)
            for one in blue.client_list(_type="pubsub"):
                pipe.client_kill_filter(_id=one["id"])
            for number in range(200):
                pipe.set(f"answer:{TENANT}:lost{number}", f"round {round_}")
            pipe.execute()
            time.sleep(0.3)
        followed.lifecycle.signal(id, "promote", actor="test")
        followed.flipped(id, 1)
        green = followed.keys("green")
        assert [n for n in range(200) if green.get(f"answer:{TENANT}:lost{n}") != "round 2"] == []


def test_a_store_too_big_to_be_compared_under_the_fence_is_not_flipped_but_offered_a_window(
    follow: Callable[[Changes], Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = follow(Changes.RECONCILE)
    survey = survey_follower.SurveyFollower._survey

    def slowly(self: survey_follower.SurveyFollower, deadline: float | None) -> int:
        time.sleep(0.8)
        return survey(self, deadline)

    monkeypatch.setattr(survey_follower.SurveyFollower, "_survey", slowly)
    with followed.lifecycle.runner():
        id = followed.start()
        operation = followed.wait(id, "flip/1")
        assert operation.state is State.ATTENTION and operation.error is not None
        assert operation.error.kind == "PreconditionRefused" and "blue/redis" in operation.error.message
        assert "maintenance_window" in operation.error.next_step
        assert followed.lifecycle.home(TenantId(TENANT)) == "blue"
        followed.lifecycle.abort(id, actor="test")
        assert followed.wait(id).state is State.ROLLED_BACK
        id = followed.start(strategy=Strategy.MAINTENANCE_WINDOW, window_opens="now", window_s=120.0)
        followed.flipped(id, 1)
        assert len(followed.keys("green")) == 500


def test_a_plan_says_for_each_store_how_its_changes_are_learned(
    follow: Callable[[Changes], Followed],
) -> None:
    for changes, how in (
        (Changes.CLIENT, "journal of touched keys"),
        (Changes.HINTS, "notifications"),
        (Changes.RECONCILE, "reconcile"),
    ):
        followed = follow(changes)
        plan = followed.lifecycle.plan_migration(TenantId(TENANT), "blue", "green")
        assert how in {store.store: store.how for store in plan.stores}["redis"]
        said = [f.code for f in plan.findings if f.subject == "blue/redis" and f.code.startswith("plan.")]
        assert said == (["plan.client"] if changes is Changes.CLIENT else ["plan.not-held"])
        assert not plan.refusals, json.dumps([f.message for f in plan.refusals])
        followed.lifecycle.close()
