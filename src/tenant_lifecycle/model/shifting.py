"""What to do at a step of the gradual cutover: go on, stay, or send every request back. A pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.gates import GatePolicy, GateResult, Judgement, OnInconclusive, Verdict, sentences


class Move(StrEnum):
    """What to do."""

    ON = "on"
    STAY = "stay"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class DataState:
    """What is known about the data of both sides at this moment."""

    #: Both feeds run, and the next flip could begin.
    ready: bool = False
    #: Everything was compared since the step began.
    verified: bool = False
    #: Why it is not ready, "" if it is.
    not_ready: str = ""
    #: What differs, or why the target can no longer be kept equal; "" if neither.
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class StepLook:
    """Everything a decision needs."""

    judgement: Judgement
    data: DataState
    #: Since the route is in effect.
    elapsed_s: float
    #: Since somebody could last tell.
    unclear_s: float
    #: Whether a person said ``promote`` and ``rollback``.
    promoted: bool = False
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why."""

    move: Move
    why: str
    #: What made it go back.
    failed: tuple[GateResult, ...] = ()


def decide_step(look: StepLook, policy: GatePolicy) -> Decision:
    """Failures first, then what a person wants, then time and proof.

    A person may skip the time and what nobody can tell, never a gate that fails or data that is not ready.
    """
    if look.rolled_back:
        said = GateResult("person", Verdict.FAIL, "a person said rollback")
        return Decision(Move.BACK, said.sentence, (said,))
    if look.data.wrong:
        differs = GateResult("data", Verdict.FAIL, look.data.wrong)
        return Decision(Move.BACK, differs.sentence, (differs,))
    failed = look.judgement.of(Verdict.FAIL)
    if failed:
        return Decision(Move.BACK, sentences(failed), failed)
    missing = _missing(look, policy)
    if look.promoted:
        if look.data.ready:
            return Decision(Move.ON, "a person said promote")
        return Decision(
            Move.STAY, f"told to promote; waits: {look.data.not_ready or 'the data is looked at'}"
        )
    if not missing:
        return Decision(Move.ON, "every gate passes")
    if look.unclear_s > policy.inconclusive_s and policy.on_inconclusive is OnInconclusive.FAIL:
        unclear = GateResult(
            "answer", Verdict.FAIL, f"nobody could tell for {format_duration(look.unclear_s)}: {missing}"
        )
        return Decision(Move.BACK, unclear.sentence, (unclear,))
    waits = "; a person may say promote or rollback" if look.unclear_s > policy.inconclusive_s else ""
    return Decision(Move.STAY, missing + waits)


def _missing(look: StepLook, policy: GatePolicy) -> str:
    """What is missing for going on, as one sentence; "" if nothing is."""
    unclear = look.judgement.of(Verdict.INCONCLUSIVE)
    parts = [sentences(unclear)] if unclear else []
    if not look.data.ready:
        parts.append(look.data.not_ready or "the data is being looked at")
    elif not look.data.verified:
        parts.append("the data is being compared")
    if look.elapsed_s < policy.soak_s:
        parts.append(f"holds for {format_duration(policy.soak_s)} at least")
    return "; ".join(parts)
