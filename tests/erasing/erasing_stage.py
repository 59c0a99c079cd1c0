"""A control database, some shelves, and everything that an erasure needs, driven in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shelf import Shelf, ShelfStore, ShelfVerifier, looker

from dying import killed_at
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.holds import Holds
from tenant_lifecycle.catalog.journal import SqlJournal
from tenant_lifecycle.catalog.manifests import Manifests
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.catalog.requests import Requests
from tenant_lifecycle.engine.driver import Driver
from tenant_lifecycle.engine.runner import sweep
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import Ground, Request, RequestState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import TERMINAL, Operation, State
from tenant_lifecycle.operations.erase.definition import Erase
from tenant_lifecycle.operations.erase.governing import Governing
from tenant_lifecycle.operations.erase.ports import Certifies
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.operations.erase.systems import System

ACME = TenantId("acme")
NEIGHBOURS = ("acme2", "ac", "acme'; DROP TABLE item; --")
CONTROL = "control"
QUICK = ErasurePolicy(
    cooling_off_s=0.0,
    settle_s=0.0,
    rescans_s=(),
    attempts=2,
    control_tenant=CONTROL,
    required={"shelf": Level.EXHAUSTIVE},
)


@dataclass
class Stage:
    """One tenant with neighbours on some shelves, and the people who erase it."""

    db: ControlDatabase
    folder: Path
    policy: ErasurePolicy = QUICK
    names: Sequence[str] = ("blue/cache", "blue/rows")
    without_verifier: Sequence[str] = ()
    shelves: dict[str, Shelf] = field(init=False)

    def __post_init__(self) -> None:
        self.requests, self.holds = Requests(self.db), Holds(self.db)
        self.manifests, self.operations = Manifests(self.db), Operations(self.db)
        self.journal = SqlJournal(self.db)
        #: None: no certificates are issued.
        self.office: Certifies | None = None
        self.shelves = {name: Shelf(self.folder / name.replace("/", "-")) for name in self.names}
        for shelf in self.shelves.values():
            shelf.put(ACME, *(f"d{number}" for number in range(5)))
            shelf.put(ACME, "m0", "m1", place="messages")
            for neighbour in (*NEIGHBOURS, CONTROL):
                shelf.put(neighbour, "d0", "d1")
                shelf.put(neighbour, "m0", place="messages")

    @property
    def governing(self) -> Governing:
        return Governing(self.requests, self.holds, self.policy)

    def systems(self) -> list[System]:
        return [
            System(
                name,
                "shelf",
                ShelfStore(shelf, name),
                None if name in self.without_verifier else ShelfVerifier(shelf, name),
            )
            for name, shelf in self.shelves.items()
        ]

    def open(self, operation_id: str, request_id: str, token: int) -> ErasureSession:
        plan = self.requests.plan(request_id)
        assert plan is not None
        return ErasureSession(
            operation_id,
            self.requests.get(request_id),
            plan,
            token,
            tuple(self.systems()),
            self.policy,
            self.requests,
            self.holds,
            self.manifests,
            looker(ACME, CONTROL, time.time),
            self.office,
        )

    def driver(self, ttl_s: float = 30.0) -> Driver:
        return Driver(self.journal, [Erase(self.open)], ttl_s=ttl_s)

    # -- the way of a request

    def request(self, actor: str = "petra@desk") -> Request:
        return self.requests.create(ACME, Ground.CONTRACT_END, actor=actor)

    def planned(self) -> Request:
        request = self.request()
        self.governing.plan(request, self.systems(), actor="petra@desk", now=time.time())
        return self.requests.get(request.id)

    def approved(self) -> Request:
        request = self.planned()
        for person in ("ann@desk", "bob@desk"):
            digest = request.plan_digest or ""
            request = self.governing.approve(request, digest, actor=person, now=time.time())
        return request

    def started(self, request: Request | None = None) -> str:
        request = request or self.approved()
        new = self.governing.begin(request, actor="petra@desk", now=time.time())
        return self.operations.create(new).id

    def drive(self, operation_id: str, timeout_s: float = 30.0) -> Operation:
        """Drive until it ends, stands, or waits for a person or a far time."""
        deadline = time.monotonic() + timeout_s
        while True:
            sweep(self.journal)
            self.driver().drive(operation_id)
            operation = self.operations.get(operation_id)
            waits = operation.state is State.WAITING and operation.wake_at > time.time() + 30
            if operation.state in TERMINAL | {State.ATTENTION, State.PAUSED} or waits:
                return operation
            assert time.monotonic() < deadline, f"{operation.state}: {operation.why}"
            time.sleep(0.02)

    def drive_and_die(self, operation_id: str, point: tuple[type, str], nth: int, after: bool) -> bool:
        """Drive in a child that kills itself at the nth call of a method; whether it got there."""
        self.db.close()
        return killed_at(point, nth, after, lambda: self.driver().drive(operation_id))

    def again(self, operation_id: str) -> Operation:
        self.operations.signal(operation_id, "again", actor="petra@desk")
        return self.drive(operation_id)

    def output(self, operation_id: str, key: str) -> dict[str, object]:
        return next(dict(one.output or {}) for one in self.operations.steps(operation_id) if one.key == key)

    def verdicts(self, operation_id: str, key: str = "judge/1") -> dict[str, str]:
        systems = self.output(operation_id, key)["systems"]
        return {one["system"]: one["verdict"] for one in systems}  # type: ignore[attr-defined]

    def state(self, request_id: str) -> RequestState:
        return self.requests.get(request_id).state

    def with_policy(self, **changes: object) -> None:
        self.policy = replace(self.policy, **changes)  # type: ignore[arg-type]

    def neighbours(self) -> dict[str, list[str]]:
        """Everything that is not the tenant's, shelf by shelf."""
        others = (*NEIGHBOURS, CONTROL)
        return {f"{n}:{o}": shelf.keys(o) for n, shelf in self.shelves.items() for o in others}
