"""What a check found: an expected result is a value, not an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


def refusals(findings: list[Finding] | tuple[Finding, ...]) -> list[Finding]:
    """The findings that forbid going on."""
    return [finding for finding in findings if finding.severity is Severity.REFUSAL]
