"""A request to erase a tenant: who asked on which ground, and the states it can be in.

The request is the legal matter, with a clock; the operation that deletes is only one part of it. A state follows
another only along `TRANSITIONS`, and the catalogue changes it by compare-and-set on (state, version).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tenant_lifecycle.errors import WrongState
from tenant_lifecycle.model.erasure.deadline import Deadline
from tenant_lifecycle.model.names import TenantId


class RequestState(StrEnum):
    """Where a request is. Nothing leaves REJECTED, CANCELLED and COMPLETED."""

    RECEIVED = "RECEIVED"
    #: It is being found out what would go.
    SCOPING = "SCOPING"
    #: There is a plan with refusals; nobody can approve it.
    PLAN_READY = "PLAN_READY"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    #: Approved; may begin when the cooling-off is over.
    COOLING_OFF = "COOLING_OFF"
    #: The tenant's writes are refused everywhere; nothing is deleted yet.
    FENCED = "FENCED"
    #: Past the point of no return.
    ERASING = "ERASING"
    SETTLING = "SETTLING"
    VERIFYING = "VERIFYING"
    #: Live systems are verified; rescans follow.
    LIVE_ERASED = "LIVE_ERASED"
    #: What remains is beyond use until stated dates.
    BACKUP_AGING = "BACKUP_AGING"
    COMPLETED = "COMPLETED"
    #: Erased but for what a hold keeps; the release of the hold brings a new plan.
    PARTIAL_HELD = "PARTIAL_HELD"
    BLOCKED_BY_HOLD = "BLOCKED_BY_HOLD"
    #: Only a person gets it further; the clock runs on.
    NEEDS_HUMAN = "NEEDS_HUMAN"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


_S = RequestState
#: Which state may follow which; a test asserts that every state is in it.
TRANSITIONS: Mapping[RequestState, frozenset[RequestState]] = {
    _S.RECEIVED: frozenset({_S.SCOPING, _S.REJECTED, _S.CANCELLED}),
    _S.SCOPING: frozenset(
        {_S.SCOPING, _S.PLAN_READY, _S.AWAITING_APPROVAL, _S.BLOCKED_BY_HOLD, _S.REJECTED, _S.CANCELLED}
    ),
    _S.PLAN_READY: frozenset({_S.SCOPING, _S.REJECTED, _S.CANCELLED}),
    _S.AWAITING_APPROVAL: frozenset({_S.SCOPING, _S.COOLING_OFF, _S.BLOCKED_BY_HOLD, _S.CANCELLED}),
    _S.COOLING_OFF: frozenset(
        {_S.SCOPING, _S.AWAITING_APPROVAL, _S.FENCED, _S.BLOCKED_BY_HOLD, _S.CANCELLED}
    ),
    _S.FENCED: frozenset({_S.ERASING, _S.SCOPING, _S.BLOCKED_BY_HOLD, _S.NEEDS_HUMAN, _S.CANCELLED}),
    _S.ERASING: frozenset({_S.SETTLING, _S.NEEDS_HUMAN}),
    _S.SETTLING: frozenset({_S.VERIFYING, _S.NEEDS_HUMAN}),
    _S.VERIFYING: frozenset({_S.ERASING, _S.LIVE_ERASED, _S.PARTIAL_HELD, _S.NEEDS_HUMAN}),
    _S.LIVE_ERASED: frozenset({_S.ERASING, _S.BACKUP_AGING, _S.COMPLETED, _S.NEEDS_HUMAN}),
    _S.BACKUP_AGING: frozenset({_S.ERASING, _S.COMPLETED, _S.NEEDS_HUMAN}),
    _S.PARTIAL_HELD: frozenset({_S.SCOPING}),
    _S.BLOCKED_BY_HOLD: frozenset({_S.SCOPING, _S.FENCED, _S.REJECTED, _S.CANCELLED}),
    _S.NEEDS_HUMAN: frozenset({_S.ERASING}),
    _S.COMPLETED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.CANCELLED: frozenset(),
}

#: States of a request that is over.
CLOSED = frozenset(state for state, following in TRANSITIONS.items() if not following)
#: From here on nothing can be taken back.
PAST_RETURN = frozenset(
    {_S.ERASING, _S.SETTLING, _S.VERIFYING, _S.LIVE_ERASED, _S.BACKUP_AGING, _S.NEEDS_HUMAN, _S.PARTIAL_HELD}
)


class Ground(StrEnum):
    """Why a tenant is erased."""

    #: Art. 17(1) GDPR, (a) to (f): no longer needed, consent withdrawn, objection, unlawful, legal duty, child.
    ART_17_1_A = "art-17-1-a"
    ART_17_1_B = "art-17-1-b"
    ART_17_1_C = "art-17-1-c"
    ART_17_1_D = "art-17-1-d"
    ART_17_1_E = "art-17-1-e"
    ART_17_1_F = "art-17-1-f"
    #: Art. 28(3)(g) GDPR: the service ended, the processor deletes.
    CONTRACT_END = "art-28-3-g"
    #: Art. 25 Data Act: after the retrieval period of a switch of provider.
    DATA_ACT = "data-act-25"
    COURT_ORDER = "court-order"


class Exception17(StrEnum):
    """Grounds of Art. 17(3) GDPR on which something is kept."""

    EXPRESSION = "art-17-3-a"
    LEGAL_OBLIGATION = "art-17-3-b"
    PUBLIC_HEALTH = "art-17-3-c"
    ARCHIVING = "art-17-3-d"
    LEGAL_CLAIMS = "art-17-3-e"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the catalogue holds it. Times are seconds since 1970."""

    id: str
    tenant: TenantId
    #: Other names of the tenant: holds match them, and searches look for them.
    aliases: tuple[str, ...]
    #: Environments; empty: all of them.
    scope: tuple[str, ...]
    ground: Ground
    #: The asker's own reference; "" if there is none.
    ticket: str
    requested_by: str
    received_at: float
    deadline: Deadline
    state: RequestState
    #: Grows with every change.
    version: int
    #: One sentence: why it is in this state.
    why: str = ""
    #: ``sha256:...`` of the stored plan; None: no plan yet.
    plan_digest: str | None = None
    planned_at: float | None = None
    #: When an approved plan may begin.
    cooling_until: float | None = None
    operation_id: str | None = None
    #: Systems that a person declares out of scope, with the reason; approvers see them in the plan.
    out_of_scope: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """Everything the tenant is called, as holds compare it."""
        return frozenset(same_name(name) for name in (self.tenant, *self.aliases))


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """One line of a request's history."""

    seq: int
    request_id: str
    at: float
    #: The new state, or ``received``, ``approved``, ``refused``, ``extended``.
    kind: str
    actor: str
    detail: Mapping[str, Any]


def same_name(name: str) -> str:
    """Two spellings of one name become equal: compatibility forms, letter case, surrounding blanks."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def refuse_transition(request: Request, to: RequestState) -> None:
    """Let it pass only along `TRANSITIONS`.

    Raises:
        WrongState: names both states, and what is possible.
    """
    if to in TRANSITIONS[request.state]:
        return
    raise WrongState(
        f"request {request.id} is {request.state} and cannot become {to}",
        next_step=f"tenantctl erase get {request.id}",
    )
