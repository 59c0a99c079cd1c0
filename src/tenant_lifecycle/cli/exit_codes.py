"""Exit codes: one per cause, so that a script can tell a refusal from a failure without reading text.

A code that a script does not know means that it failed. `ERRORS` and `OUTCOMES` are complete by test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from tenant_lifecycle import errors
from tenant_lifecycle.model.operation import State


class ExitCode(IntEnum):
    """What the process ends with."""

    OK = 0
    #: It failed, or ended in another way than was asked for.
    FAILED = 1
    #: The command line or a configuration file is wrong.
    USAGE = 2
    NOT_FOUND = 3
    #: A server said no: password, privilege, quota.
    NOT_ALLOWED = 4
    #: Busy, changed meanwhile, or in a state that does not allow it.
    CONFLICT = 5
    #: A pre-flight check or a gate refused; nothing was changed.
    REFUSED = 6
    #: Ended waiting for a person: paused, or waiting to be promoted.
    WAITS_FOR_PERSON = 7
    #: The time given ran out; the operation goes on.
    TIMEOUT = 8
    DIFFERENCES = 9
    #: The operation stands and a person has to look.
    NEEDS_ATTENTION = 11
    UNREACHABLE = 12
    #: Ctrl-C: detached, the operation goes on.
    DETACHED = 130


#: What each code means, for the reference.
MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.OK: "ok",
    ExitCode.FAILED: "failed, or ended in another way than was asked for",
    ExitCode.USAGE: "the command line or a configuration file is wrong",
    ExitCode.NOT_FOUND: "no such tenant, operation, request, certificate or hold",
    ExitCode.NOT_ALLOWED: "a server refused us: password, privilege, quota, missing setting",
    ExitCode.CONFLICT: "busy, changed meanwhile, or in a state that does not allow it",
    ExitCode.REFUSED: "a pre-flight check or a gate refused; nothing was changed",
    ExitCode.WAITS_FOR_PERSON: "ended waiting for a person: paused, or waiting to be promoted",
    ExitCode.TIMEOUT: "the time given ran out; the operation goes on",
    ExitCode.DIFFERENCES: "a verification found differences, or a check of traffic drift",
    ExitCode.NEEDS_ATTENTION: "the operation stands, and a person has to look",
    ExitCode.UNREACHABLE: "a server gave no answer",
    ExitCode.DETACHED: "detached with Ctrl-C; the operation goes on",
}

#: Error class -> exit code.
ERRORS: Mapping[type[errors.LifecycleError], ExitCode] = {
    errors.LifecycleError: ExitCode.FAILED,
    errors.UsageError: ExitCode.USAGE,
    errors.ConfigError: ExitCode.USAGE,
    errors.UnknownTenant: ExitCode.NOT_FOUND,
    errors.UnknownOperation: ExitCode.NOT_FOUND,
    errors.UnknownRequest: ExitCode.NOT_FOUND,
    errors.UnknownCertificate: ExitCode.NOT_FOUND,
    errors.UnknownHold: ExitCode.NOT_FOUND,
    errors.UnknownBackup: ExitCode.NOT_FOUND,
    errors.NotRestorable: ExitCode.REFUSED,
    errors.UnsupportedByStore: ExitCode.USAGE,
    errors.NotAvailable: ExitCode.USAGE,
    errors.ConflictError: ExitCode.CONFLICT,
    errors.TenantBusy: ExitCode.CONFLICT,
    errors.LeaseLost: ExitCode.CONFLICT,
    errors.Fenced: ExitCode.CONFLICT,
    errors.PlanChanged: ExitCode.CONFLICT,
    errors.WrongState: ExitCode.CONFLICT,
    errors.PreconditionRefused: ExitCode.REFUSED,
    errors.UnmappedData: ExitCode.REFUSED,
    errors.NotCertifiable: ExitCode.REFUSED,
    errors.TargetOccupied: ExitCode.REFUSED,
    errors.WindowOver: ExitCode.REFUSED,
    errors.StoreError: ExitCode.FAILED,
    errors.StoreUnavailable: ExitCode.UNREACHABLE,
    errors.StoreBusy: ExitCode.CONFLICT,
    errors.StoreReadOnly: ExitCode.NOT_ALLOWED,
    errors.StoreRejected: ExitCode.NOT_ALLOWED,
    errors.FeedError: ExitCode.NEEDS_ATTENTION,
    errors.FeedGap: ExitCode.NEEDS_ATTENTION,
    errors.SourceChanged: ExitCode.NEEDS_ATTENTION,
    errors.SpoolFull: ExitCode.NEEDS_ATTENTION,
    errors.RepositoryError: ExitCode.FAILED,
    errors.RepositoryUnavailable: ExitCode.UNREACHABLE,
    errors.RepositoryRejected: ExitCode.NOT_ALLOWED,
    errors.KeyUnavailable: ExitCode.NOT_ALLOWED,
    errors.TenantMoved: ExitCode.CONFLICT,
    errors.TenantInMaintenance: ExitCode.CONFLICT,
    errors.FlipAbandoned: ExitCode.CONFLICT,
    errors.IntegrityError: ExitCode.DIFFERENCES,
    errors.VerificationFailed: ExitCode.DIFFERENCES,
    errors.RepositoryDamaged: ExitCode.DIFFERENCES,
    errors.InvariantViolated: ExitCode.NEEDS_ATTENTION,
}

#: State in which waiting for an operation ended -> exit code, where nothing else was asked for.
OUTCOMES: Mapping[State, ExitCode] = {
    State.QUEUED: ExitCode.TIMEOUT,
    State.RUNNING: ExitCode.TIMEOUT,
    State.WAITING: ExitCode.TIMEOUT,
    State.ABORTING: ExitCode.TIMEOUT,
    State.PAUSED: ExitCode.WAITS_FOR_PERSON,
    State.ATTENTION: ExitCode.NEEDS_ATTENTION,
    State.SUCCEEDED: ExitCode.OK,
    State.FAILED: ExitCode.FAILED,
    State.ABORTED: ExitCode.FAILED,
    State.ROLLED_BACK: ExitCode.FAILED,
}


def code_of(kind: type[errors.LifecycleError]) -> ExitCode:
    """The exit code of a class of errors; one without an entry has its nearest ancestor's."""
    return next(ERRORS[cls] for cls in kind.__mro__ if cls in ERRORS)
