"""What an erasure came to, system by system and as a whole: computed from evidence, never set.

Nothing in this module takes a result from outside. `judge` makes a system's outcome from what was seen there,
and `overall` makes the whole from the outcomes and the inventory; a system that is missing, skipped, unsupported
or unread can only make the whole worse.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What is claimed about a system, and no more."""

    #: The provider accepted the request; nothing was checked.
    ACCEPTED = "V0"
    #: No read path gives it to a principal without restrictions.
    LOGICAL = "V1"
    #: A complete enumeration (versions, markers, uploads, replicas, hidden places) is empty.
    EXHAUSTIVE = "V2"
    #: The bytes are absent from storage that we can read, after decoding.
    PHYSICAL = "V3"
    #: Ciphertext may remain; every copy of the key is destroyed, and a planted sample cannot be decrypted.
    CRYPTOGRAPHIC = "V4"
    #: Remains until a stated date, beyond use.
    EXPIRY_BOUND = "VX"
    #: Rests on the named provider's commitment until a stated date.
    VENDOR = "VV"

    def reaches(self, required: Level) -> bool:
        """Whether this level is proof enough where ``required`` is asked for. V4 counts for whatever is asked;
        what is only promised (VX, VV) reaches nothing but itself."""
        if self is required or self is Level.CRYPTOGRAPHIC:
            return True
        return self in _PROVEN and required in _PROVEN and _PROVEN.index(self) >= _PROVEN.index(required)


_PROVEN = (Level.ACCEPTED, Level.LOGICAL, Level.EXHAUSTIVE, Level.PHYSICAL)
#: Levels that need a date: until then the system is not empty for certain.
DATED = frozenset({Level.EXPIRY_BOUND, Level.VENDOR})


class Verdict(StrEnum):
    """What can be said about one system."""

    VERIFIED = "VERIFIED"
    #: Something of the tenant was found.
    RESIDUAL = "RESIDUAL"
    #: Nothing was found, and that is not proof enough; the reason says why.
    UNVERIFIED = "UNVERIFIED"
    #: The search could not have found anything, or did not get to the end.
    INCONCLUSIVE = "INCONCLUSIVE"
    #: Kept on a legal ground until a date, and restricted.
    RETAINED = "RETAINED"
    #: A legal hold forbade it.
    HELD = "HELD"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    #: Only a person can do or confirm it.
    NEEDS_HUMAN = "NEEDS_HUMAN"


#: Verdicts that a certificate may carry as exceptions.
EXCEPTIONS = frozenset({Verdict.RETAINED, Verdict.HELD, Verdict.OUT_OF_SCOPE})


class Overall(StrEnum):
    """What the erasure as a whole is."""

    COMPLETE = "COMPLETE"
    #: All live systems are verified; the rest is beyond use until stated dates.
    INTERIM = "INTERIM"
    COMPLETE_WITH_EXCEPTIONS = "COMPLETE_WITH_EXCEPTIONS"
    #: No certificate.
    INCOMPLETE = "INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One system's."""

    system: str
    verdict: Verdict
    #: What it is verified at; None unless VERIFIED.
    level: Level | None
    required: Level
    #: Name of the rule of `judge` that decided.
    rule: str
    #: One sentence: counts and causes, nothing personal.
    reason: str
    #: Seconds since 1970: when something that remains will be gone. None: nothing remains, or nobody knows.
    until: float | None = None

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.VERIFIED) != (self.level is not None):
            raise ValueError(f"{self.system}: a level stands beside VERIFIED, and only there")
        if self.level in DATED and self.until is None:
            raise ValueError(f"{self.system}: {self.level} needs a date")


@dataclass(frozen=True, slots=True)
class Look:
    """One complete or incomplete search of one system by the verifier."""

    #: Items of the manifest that were still there.
    remaining: int
    #: Places where something of the tenant was found that the manifest does not name.
    hits: int
    #: Whether the living control was found by the same code and credentials.
    control_found: bool
    #: False: something could not be read; ``why`` says what.
    complete: bool
    why: str = ""
    #: Seconds since 1970.
    at: float = 0.0
    #: What a clean look of this kind proves.
    level: Level = Level.LOGICAL

    @property
    def clean(self) -> bool:
        return self.complete and self.control_found and not self.remaining and not self.hits


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything seen of one system. Defaults are the worst case."""

    system: str
    required: Level
    #: "" or why nothing of ours can erase it.
    unsupported: str = ""
    #: "" or the hold's matter reference.
    held: str = ""
    #: "" or the reason that a person gave and others approved.
    out_of_scope: str = ""
    #: Items that the system refused to delete (errors per item, object lock).
    refused: int = 0
    #: When the refused ones can be deleted or will be gone, if there is such a date.
    refused_until: float | None = None
    #: "" or the legal ground on which items were kept (Art. 17(3)), and how many a search finds for that reason.
    retained_ground: str = ""
    retained: int = 0
    retained_until: float | None = None
    #: "" or what failed: erasing or looking did not come to its end.
    failure: str = ""
    #: In the order in which they were made.
    looks: tuple[Look, ...] = ()
    #: When the provider promises that it is gone physically, or when copies expire; None: no such remainder.
    horizon: float | None = None
    #: VENDOR or EXPIRY_BOUND, beside ``horizon``.
    horizon_level: Level | None = None


#: Clean looks in a row, a settling time apart, before a system counts as clean.
CLEAN_LOOKS = 2


def judge(evidence: Evidence, now: float) -> Outcome:
    """The outcome of one system. What was found outranks what could not be looked at, and that outranks
    everything good."""
    look = evidence.looks[-1] if evidence.looks else None

    def outcome(verdict: Verdict, rule: str, reason: str, until: float | None = None) -> Outcome:
        return Outcome(evidence.system, verdict, None, evidence.required, rule, reason, until)

    if evidence.unsupported:
        return outcome(Verdict.NEEDS_HUMAN, "unsupported", evidence.unsupported)
    if evidence.held:
        return outcome(Verdict.HELD, "held", f"hold {evidence.held}")
    if evidence.out_of_scope:
        return outcome(Verdict.OUT_OF_SCOPE, "out-of-scope", evidence.out_of_scope)
    if look is not None and look.hits + look.remaining > evidence.refused:
        found = f"{look.remaining} items of the manifest and {look.hits} other places"
        return outcome(Verdict.RESIDUAL, "found", f"the last search found {found}")
    if evidence.failure:
        return outcome(Verdict.UNVERIFIED, "failure", evidence.failure)
    if look is None:
        return outcome(Verdict.UNVERIFIED, "not-looked", "nobody searched it")
    if not look.control_found:
        return outcome(Verdict.INCONCLUSIVE, "no-control", "the search did not find the control")
    if not look.complete:
        return outcome(Verdict.INCONCLUSIVE, "unread", look.why or "the search did not get to the end")
    if evidence.refused:
        return _refused(evidence, now)
    if evidence.retained_ground:
        return outcome(Verdict.RETAINED, "retained", evidence.retained_ground, evidence.retained_until)
    if not all(one.clean for one in evidence.looks[-CLEAN_LOOKS:]) or len(evidence.looks) < CLEAN_LOOKS:
        return outcome(Verdict.UNVERIFIED, "settling", f"not clean {CLEAN_LOOKS} times in a row yet")
    if not look.level.reaches(evidence.required):
        return outcome(
            Verdict.UNVERIFIED, "level", f"proven at {look.level}, {evidence.required} is required"
        )
    return _verified(evidence, look, now)


def _refused(evidence: Evidence, now: float) -> Outcome:
    """Items that could not be deleted: bound to a date, or a person's business."""
    until, count = evidence.refused_until, evidence.refused
    if until is not None and until > now:
        return Outcome(
            evidence.system, Verdict.VERIFIED, Level.EXPIRY_BOUND, evidence.required, "locked",
            f"{count} items are locked until a date", until,
        )  # fmt: skip
    return Outcome(
        evidence.system, Verdict.NEEDS_HUMAN, None, evidence.required, "refused",
        f"the system refused to delete {count} items", None,
    )  # fmt: skip


def _verified(evidence: Evidence, look: Look, now: float) -> Outcome:
    if evidence.horizon is not None and evidence.horizon > now:
        level = evidence.horizon_level or Level.VENDOR
        reason = f"empty at {look.level}; physically gone at a promised date"
        return Outcome(
            evidence.system, Verdict.VERIFIED, level, evidence.required, "horizon", reason, evidence.horizon
        )
    return Outcome(
        evidence.system, Verdict.VERIFIED, look.level, evidence.required, "clean",
        f"{len(evidence.looks)} searches, the last {CLEAN_LOOKS} clean",
    )  # fmt: skip


def overall(outcomes: Sequence[Outcome], inventory: Collection[str]) -> Overall:
    """The whole: INCOMPLETE unless every system of the inventory has exactly one outcome that allows more.

    Raises:
        ValueError: the inventory is empty; nothing was to be erased, so nothing can be said.
    """
    if not inventory:
        raise ValueError("an erasure of no system at all proves nothing")
    if sorted(one.system for one in outcomes) != sorted(inventory):
        return Overall.INCOMPLETE
    if any(one.verdict is not Verdict.VERIFIED and one.verdict not in EXCEPTIONS for one in outcomes):
        return Overall.INCOMPLETE
    if any(one.verdict in EXCEPTIONS for one in outcomes):
        return Overall.COMPLETE_WITH_EXCEPTIONS
    if any(one.level in DATED for one in outcomes):
        return Overall.INTERIM
    return Overall.COMPLETE
