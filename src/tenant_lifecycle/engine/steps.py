"""Steps: the named parts of an operation, each of which bears being run twice.

A step's *intent* is journaled before `Step.run` is called, its *outcome* after it. The kind says how a crash
between the two is resolved (`StepKind`). No transaction of the control database is open while a step runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.model.operation import Json, Operation, Outputs, Signal, StepKind, TenantUpdate

if TYPE_CHECKING:
    from tenant_lifecycle.engine.items import Items

__all__ = [
    "Done",
    "Interrupted",
    "OnError",
    "Outcome",
    "Probed",
    "Retry",
    "Step",
    "StepContext",
    "StepKind",
    "Wait",
]


class Interrupted(Exception):
    """A safe point was reached and a person wants a pause or an abort, or the driver is to stop. Let it pass."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step is over; later steps find ``output`` under its key."""

    output: Json = field(default_factory=dict)
    #: Written in the same transaction as the outcome (steps of kind TX).
    tenant: TenantUpdate | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before a time or a signal; then the step's `run` is called again."""

    #: Seconds since 1970 on the clock of `StepContext.now`; None = no time limit.
    until: float | None = None
    #: Kinds of signals that end the wait earlier.
    signals: tuple[str, ...] = ()
    #: One sentence for people.
    why: str = ""
    #: True: this driver keeps the lease and the session meanwhile (feeds go on). False: it lets both go.
    hold: bool = False

    def __post_init__(self) -> None:
        if self.until is None and not self.signals:
            raise ValueError("a wait needs a time or a signal")


Outcome = Done | Wait


class Probed(StrEnum):
    """What the outside says about an attempt that was cut off."""

    DONE = "done"
    NOT_DONE = "not_done"
    #: Nobody can tell: the operation stops for a person instead of acting twice.
    UNKNOWN = "unknown"


class OnError(StrEnum):
    """What an error that no retry helps against does to the operation."""

    #: Stop and ask a person; everything stays as it is.
    ATTENTION = "attention"
    #: Undo what was done (nothing, for a refusal in a first step), then end as failed.
    FAIL = "fail"


class StepContext(Protocol):
    """What a running step sees of the engine. `check`, `progress` and `publish` may be called by any thread."""

    @property
    def operation(self) -> Operation:
        """The operation as of the start of this step."""

    @property
    def key(self) -> str:
        """The step's key."""

    @property
    def token(self) -> int:
        """The driver token: give it to every store that is written to."""

    @property
    def attempt(self) -> int:
        """1 on the first run; more: an earlier attempt may have had effects."""

    @property
    def cursor(self) -> Any:
        """What the last journaled `progress` of this step gave as ``cursor``; None if there is none."""

    @property
    def outputs(self) -> Outputs:
        """Outputs of the steps done before."""

    @property
    def session(self) -> Any:
        """What `Definition.session` yielded; lives as long as this driver drives."""

    @property
    def items(self) -> Items:
        """Work items of this step, shared with other workers."""

    def now(self) -> float:
        """Seconds since 1970 on the control database's clock (kept close to it, no round trip)."""

    def check(self) -> None:
        """A safe point: call it between chunks and before each outside call. Cheap.

        Raises:
            LeaseLost: another driver owns the operation, or this one cannot prove that it still does.
            Interrupted: a pause, an abort or a stop of the driver is wanted.
        """

    def progress(
        self,
        done: int,
        total: int | None = None,
        exact: bool = True,
        cursor: Any = None,
        detail: Json | None = None,
    ) -> None:
        """Tell how far it is. Written at most once a second; the latest is always written when the step ends.

        ``cursor`` is where a later attempt may go on; None keeps the last one. An attempt may find a cursor
        that is up to a second old: work after it must bear repetition.

        Raises:
            LeaseLost: as `check`.
        """

    def publish(self, detail: Json) -> None:
        """Live facts for watchers (lag, rates), merged into the step's `detail`; limited like `progress`."""

    def event(self, kind: str, **detail: Any) -> None:
        """Append to the operation's history, now."""

    def take_signal(self, *kinds: str) -> Signal | None:
        """The oldest signal of these kinds not taken yet; None if there is none.

        It counts as consumed with the next journaled outcome of the step (Done, Wait, or a written progress
        with a cursor): an attempt that is cut off before sees it again.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """One named part of an operation."""

    #: Stable name, ``copy/postgres/documents``; never contains an attempt or a time.
    key: str
    #: A few words for people.
    title: str
    kind: StepKind
    run: Callable[[StepContext], Outcome]
    #: Takes the effect back; must accept that it never happened. None: nothing to take back.
    undo: Callable[[StepContext], Outcome] | None = None
    #: For kind PROBE: asked before a second attempt. Done: its output is ``{"probed": true}``.
    probe: Callable[[StepContext], Probed] | None = None
    retry: Retry = field(default_factory=Retry)
    #: The point of no return: once begun, the operation cannot be aborted.
    critical: bool = False
    on_error: OnError = OnError.ATTENTION

    def __post_init__(self) -> None:
        if self.kind is StepKind.PROBE and self.probe is None:
            raise ValueError(f"step {self.key!r} is of kind probe and has no probe")


def undo_key(key: str) -> str:
    """Key of the step that undoes the step ``key``."""
    return f"undo/{key}"
