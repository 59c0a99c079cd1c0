"""Where a migration is, in one word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from tenant_lifecycle.model.operation import Operation, State, StepRecord, StepStatus


class MigrationStatus(StrEnum):
    """Phases of a migration, in order, and its ends."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    COPYING = "copying"
    CATCHING_UP = "catching_up"
    VERIFYING = "verifying"
    #: Verified; waits for a person to promote it.
    READY = "ready"
    CUTOVER = "cutover"
    #: The target is the writer, the old side is kept ready for a rollback.
    SETTLING = "settling"
    #: The source is the writer again, the target is kept ready.
    ROLLED_BACK = "rolled_back"
    DECOMMISSIONING = "decommissioning"
    COMPLETED = "completed"
    PAUSED = "paused"
    #: Stopped by an error that a person has to mend.
    NEEDS_ATTENTION = "needs_attention"
    ABORTING = "aborting"
    ABORTED = "aborted"
    FAILED = "failed"
    #: Offline: nothing was done.
    SKIPPED = "skipped"


#: States that say it all; in the others the step at work does.
_OF_STATE: Mapping[State, MigrationStatus] = {
    State.QUEUED: MigrationStatus.QUEUED,
    State.PAUSED: MigrationStatus.PAUSED,
    State.ATTENTION: MigrationStatus.NEEDS_ATTENTION,
    State.ABORTING: MigrationStatus.ABORTING,
    State.SUCCEEDED: MigrationStatus.COMPLETED,
    State.FAILED: MigrationStatus.FAILED,
    State.ABORTED: MigrationStatus.ABORTED,
    State.ROLLED_BACK: MigrationStatus.ROLLED_BACK,
}
#: First part of a step's key -> the phase it belongs to.
_OF_STEP: Mapping[str, MigrationStatus] = {
    "preflight": MigrationStatus.PROVISIONING,
    "provision": MigrationStatus.PROVISIONING,
    "arm": MigrationStatus.PROVISIONING,
    "feed": MigrationStatus.PROVISIONING,
    "copy": MigrationStatus.COPYING,
    "catch-up": MigrationStatus.CATCHING_UP,
    "way-back": MigrationStatus.CATCHING_UP,
    "verify": MigrationStatus.VERIFYING,
    "promote": MigrationStatus.READY,
    "shift": MigrationStatus.CUTOVER,
    "back": MigrationStatus.ROLLED_BACK,
    "postmortem": MigrationStatus.ROLLED_BACK,
    "hold": MigrationStatus.ROLLED_BACK,
    "give-up": MigrationStatus.ROLLED_BACK,
    "flip": MigrationStatus.CUTOVER,
    "settle": MigrationStatus.SETTLING,
    "final-verify": MigrationStatus.DECOMMISSIONING,
    "leave": MigrationStatus.DECOMMISSIONING,
}


def status_of(operation: Operation, steps: Sequence[StepRecord]) -> MigrationStatus:
    """The phase of a migration, from its state and the latest of its steps."""
    if operation.state in _OF_STATE:
        return _OF_STATE[operation.state]
    latest = max(steps, key=lambda step: step.ord, default=None)
    if latest is None:
        return MigrationStatus.QUEUED
    if latest.key.startswith("settle/") and flips_done(steps) % 2 == 0:
        return MigrationStatus.ROLLED_BACK
    return _OF_STEP.get(latest.key.partition("/")[0], MigrationStatus.PROVISIONING)


def flips_done(steps: Sequence[StepRecord]) -> int:
    """How many flips are done; odd: the target is the writer."""
    return sum(1 for step in steps if step.key.startswith("flip/") and step.status is StepStatus.DONE)
