"""What a check found: an expected result is a value, not an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.errors import StoreError


class Severity(StrEnum):
    """How much a finding matters."""

    #: The operation must not start, or must not go on.
    REFUSAL = "refusal"
    #: A person should know; nothing is stopped.
    WARNING = "warning"
    #: Looked at, and in order.
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check.

    ``code`` is stable and may be tested (``pg.replica-identity``); ``message`` names the thing and the
    cause in one sentence; ``next_step`` says how to mend it.
    """

    code: str
    severity: Severity
    message: str
    next_step: str = ""
    #: The store or file the finding is about, for example ``blue/postgres``.
    subject: str = ""
    #: It may be otherwise in a moment, because the store only could not be asked.
    passing: bool = False


def unanswered(code: str, error: StoreError, next_step: str = "tenantctl doctor") -> Finding:
    """A refusal because a store could not be asked; it is ``passing`` if asking again helps."""
    said = str(error).removeprefix(f"{error.store}: ")
    step = error.next_step or next_step
    return Finding(code, Severity.REFUSAL, said, step, error.store, passing=error.retryable)


def refusals(findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    """The findings that forbid going on."""
    return [finding for finding in findings if finding.severity is Severity.REFUSAL]
