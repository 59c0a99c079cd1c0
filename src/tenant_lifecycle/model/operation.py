"""Operations as values: the states, what a person may want of one, and which changes are allowed.

An operation is one long, durable piece of work on one tenant (a migration, an erasure). Everything here is
what the control database holds about it, read-only. JSON values hold ids, counts, digests and positions
only: never personal data, row bodies or secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: A JSON object of ids, counts, digests and positions.
Json = Mapping[str, Any]


class State(StrEnum):
    """Where an operation is. Nothing leaves a terminal state."""

    #: Waits for a driver.
    QUEUED = "queued"
    #: A driver works on it, or died working on it and the lease still runs.
    RUNNING = "running"
    #: Waits for a time, a signal or the next try; `Operation.why` says which.
    WAITING = "waiting"
    #: A person paused it; it keeps everything it has.
    PAUSED = "paused"
    #: Takes back what was done; a driver works on it or will.
    ABORTING = "aborting"
    #: Stopped by an error that needs a person: `retry`, `abort`, or mend and `retry`.
    ATTENTION = "attention"
    SUCCEEDED = "succeeded"
    #: Refused or failed, and nothing of it is left behind.
    FAILED = "failed"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"


#: States that are the end.
TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.ABORTED, State.ROLLED_BACK})
#: States in which a driver may take the operation, if its time has come and nobody holds the lease.
DRIVABLE = frozenset({State.QUEUED, State.RUNNING, State.WAITING, State.ABORTING})
#: At most one operation of these kinds is active per tenant.
EXCLUSIVE_KINDS = frozenset({"migrate", "erase", "restore"})

_TO_ACTIVE = DRIVABLE | {State.PAUSED, State.ATTENTION}
#: Which state may follow which; a test asserts that every state is in it.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: _TO_ACTIVE | TERMINAL,
    State.RUNNING: _TO_ACTIVE | TERMINAL,
    State.WAITING: _TO_ACTIVE | TERMINAL,
    State.PAUSED: frozenset({State.PAUSED, State.QUEUED, State.ABORTING}),
    State.ABORTING: frozenset(
        {State.ABORTING, State.PAUSED, State.ATTENTION, State.FAILED, State.ABORTED, State.ROLLED_BACK}
        # The abort was refused by the definition: the operation goes on.
        | {State.QUEUED, State.RUNNING, State.WAITING}
    ),
    State.ATTENTION: frozenset({State.ATTENTION, State.QUEUED, State.ABORTING}),
    **{state: frozenset() for state in TERMINAL},
}


class Desired(StrEnum):
    """What a person wants of an operation; obeyed at the next safe point."""

    RUN = "run"
    PAUSE = "pause"
    ABORT = "abort"


class StepKind(StrEnum):
    """How a crash between a step's intent and its outcome is resolved."""

    #: Effect and outcome are one transaction of the control database: nothing happened.
    TX = "tx"
    #: The effect leaves a receipt in the target, in the same transaction: run again, it finds the receipt.
    RECEIPT = "receipt"
    #: The effect may be repeated: run again from the cursor.
    IDEMPOTENT = "idempotent"
    #: Only the outside knows: ask it before acting again.
    PROBE = "probe"
    #: No effect: wait again.
    WAIT = "wait"


class StepStatus(StrEnum):
    """What the journal knows about a step."""

    #: Begun; the effect may have happened, wholly or in part, or not at all.
    INTENT = "intent"
    DONE = "done"
    #: Began, and said what it waits for.
    WAITING = "waiting"
    #: The last attempt failed; it will be tried again, or a person must look.
    FAILED = "failed"
    #: Asked what happened, the outside did not know.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error as the journal keeps it."""

    #: Class name, for example ``StoreRejected``.
    kind: str
    message: str
    next_step: str = ""
    retryable: bool = False
    #: Key of the step that failed, "" when none was running.
    step: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of ``operation``. Times are seconds since 1970 on the control database's clock."""

    id: str
    kind: str
    #: Name and version of the list of steps, ``migrate@1``.
    definition: str
    tenant_id: str
    spec: Json
    plan: Json
    plan_hash: str | None
    state: State
    desired: Desired
    #: True once an abort began (or an error that undoes): the steps to do are those of the abort.
    aborting: bool
    #: One sentence: what a waiting, paused or stopped operation waits for.
    why: str
    owner: str | None
    token: int
    lease_until: float
    #: Not before this time; 0 = now.
    wake_at: float
    #: A signal of one of these kinds wakes it earlier.
    wake_signals: tuple[str, ...]
    #: Leases taken since the last progress.
    stalls: int
    #: Grows with every change of the row.
    rev: int
    reason: str
    requested_by: str
    parent_id: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    result: Json | None
    #: Why it stands (ATTENTION) or ended (FAILED).
    error: ErrorRecord | None
    #: The error that began the abort, if an error did.
    cause: ErrorRecord | None = None

    @property
    def terminal(self) -> bool:
        """Whether it ended."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One row of ``step``: what the journal knows about one step of one operation."""

    operation_id: str
    key: str
    title: str
    #: Order in which steps began.
    ord: int
    kind: StepKind
    critical: bool
    status: StepStatus
    #: Times begun, crashes and pauses included.
    attempt: int
    #: Retryable failures since the last progress.
    failures: int
    #: Token of the driver that wrote last.
    token: int
    cursor: Any
    done_units: int | None
    total_units: int | None
    #: False: ``total_units`` is an estimate.
    exact: bool
    #: Live facts for watchers (lag, rates).
    detail: Json
    output: Json | None
    error: ErrorRecord | None
    first_at: float
    last_at: float
    done_at: float | None
    next_try_at: float | None


@dataclass(frozen=True, slots=True)
class StepAhead:
    """A step that has not begun, as far as is known by now."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an operation's history; ``seq`` only grows, so watchers continue after the last seen."""

    seq: int
    operation_id: str
    token: int
    at: float
    kind: str
    actor: str
    detail: Json


@dataclass(frozen=True, slots=True)
class Signal:
    """Something a person or another program told the operation (``promote``, ``rollback``, ``complete``)."""

    seq: int
    operation_id: str
    kind: str
    payload: Json
    actor: str
    at: float


@dataclass(frozen=True, slots=True)
class TenantUpdate:
    """A change of a tenant's row, made in the same transaction as a step's outcome; None = leave as it is."""

    tenant_id: str
    display_name: str | None = None
    tier: str | None = None
    #: The environment whose database accepts the tenant's writes.
    environment: str | None = None
    state: str | None = None


class Outputs(Mapping[str, Json]):
    """Outputs of an operation's done steps by key, plus which steps began at all, in the order they began."""

    __slots__ = ("_outputs", "begun")

    def __init__(self, outputs: Mapping[str, Json] | None = None, begun: tuple[str, ...] = ()) -> None:
        self._outputs = dict(outputs or {})
        #: Keys of every step with at least an intent: it may have had effects even without an output.
        self.begun = begun or tuple(self._outputs)

    def __getitem__(self, key: str) -> Json:
        return self._outputs[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"Outputs({self._outputs!r}, begun={self.begun!r})"

    @classmethod
    def of(cls, steps: tuple[StepRecord, ...]) -> Outputs:
        """What the journal's step rows say."""
        done = {step.key: step.output or {} for step in steps if step.status is StepStatus.DONE}
        return cls(done, tuple(step.key for step in sorted(steps, key=lambda step: step.ord)))


@dataclass(frozen=True, slots=True)
class NewOperation:
    """What it takes to create an operation."""

    kind: str
    definition: str
    tenant_id: str
    requested_by: str
    spec: Json = field(default_factory=dict)
    plan: Json = field(default_factory=dict)
    plan_hash: str | None = None
    reason: str = ""
    parent_id: str | None = None
