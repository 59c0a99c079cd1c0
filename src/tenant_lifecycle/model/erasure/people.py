"""Four eyes: when two names are two people, and whether enough of them approved a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenant_lifecycle.errors import PlanChanged, PreconditionRefused
from tenant_lifecycle.model.erasure.request import same_name


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word on one plan."""

    plan_digest: str
    by: str
    at: float
    reason: str = ""


def different_person(one: str, other: str) -> bool:
    """Whether two names surely are two people.

    ``ann@laptop`` and ``ANN@server`` are taken for one person: where that is wrong somebody else has to be asked,
    where the opposite were wrong one person could agree with herself.
    """
    return person(one) != person(other)


def refuse_approval(
    given: Iterable[Approval], approval: Approval, requested_by: str, plan_digest: str | None, valid_s: float
) -> None:
    """Let a new approval pass only if it counts.

    Raises:
        PlanChanged: it is about another plan than the one there is now.
        PreconditionRefused: the requester, or somebody who approved this plan already.
    """
    if approval.plan_digest != plan_digest:
        raise PlanChanged(
            f"the plan is {plan_digest or 'not made yet'}, not {approval.plan_digest}",
            next_step="look at it again: tenantctl erase get",
        )
    if not different_person(approval.by, requested_by):
        raise PreconditionRefused(
            f"{requested_by} asked for this erasure; another person must approve it",
            next_step="ask two people other than the one who asked",
        )
    for one in counting(given, approval.plan_digest, approval.at, valid_s):
        if not different_person(one.by, approval.by):
            raise PreconditionRefused(
                f"{one.by} approved this plan already; the next one must be another person",
                next_step="ask somebody else",
            )


def counting(
    given: Iterable[Approval], plan_digest: str | None, now: float, valid_s: float
) -> list[Approval]:
    """The approvals of this plan that have not expired; one given in the future (a clock set back) does not count."""
    return [one for one in given if one.plan_digest == plan_digest and 0 <= now - one.at < valid_s]


def person(name: str) -> str:
    """What two names of one person have in common: the login, whatever the host and the letter case."""
    login = same_name(name.partition("@")[0])
    return login or same_name(name)
