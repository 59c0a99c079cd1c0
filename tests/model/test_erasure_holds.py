"""Holds, requests and approvals as pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenant_lifecycle.errors import PreconditionRefused, WrongState
from tenant_lifecycle.model.erasure.holds import (
    PROPOSAL_S,
    Hold,
    HoldAct,
    HoldEvent,
    HoldState,
    blocking,
)
from tenant_lifecycle.model.erasure.people import different_person
from tenant_lifecycle.model.erasure.request import (
    CLOSED,
    TRANSITIONS,
    Exception17,
    RequestState,
    same_name,
)


def hold(**changes: object) -> Hold:
    placed = Hold(
        "ho_1", "M-1", Exception17.LEGAL_CLAIMS, ("acme", "Acme GmbH"),
        history=(HoldEvent(HoldAct.PLACED, "jura@desk", 0.0),),
    )  # fmt: skip
    return replace(placed, **changes)  # type: ignore[arg-type]


def test_a_proposal_blocks_at_once_and_lapses_unless_a_second_person_approves() -> None:
    placed = hold()
    assert placed.blocks(1.0) and placed.state(1.0) is HoldState.PROPOSED
    assert not placed.blocks(PROPOSAL_S) and placed.state(PROPOSAL_S) is HoldState.LAPSED
    with pytest.raises(PreconditionRefused, match="second person"):
        placed.after(HoldEvent(HoldAct.APPROVED, "JURA@home", 1.0))
    approved = placed.after(HoldEvent(HoldAct.APPROVED, "chief@desk", 1.0))
    assert approved.blocks(1e9)


def test_a_release_needs_a_reason_a_second_person_and_time() -> None:
    active = hold().after(HoldEvent(HoldAct.APPROVED, "chief@desk", 1.0))
    with pytest.raises(PreconditionRefused, match="reason"):
        active.after(HoldEvent(HoldAct.RELEASE_REQUESTED, "jura@desk", 2.0))
    asked = active.after(HoldEvent(HoldAct.RELEASE_REQUESTED, "jura@desk", 2.0, "settled"))
    assert asked.blocks(1e9), "nobody confirmed"
    with pytest.raises(PreconditionRefused, match="second person"):
        asked.after(HoldEvent(HoldAct.RELEASE_CONFIRMED, "jura@desk", 3.0))
    going = asked.after(HoldEvent(HoldAct.RELEASE_CONFIRMED, "chief@desk", 3.0, "", 100.0))
    assert going.blocks(102.9) and going.blocks_until(50.0) == 103.0
    assert not going.blocks(103.0)
    with pytest.raises(WrongState):
        going.after(HoldEvent(HoldAct.RELEASE_REQUESTED, "jura@desk", 200.0, "again"))


def test_a_withdrawn_release_makes_an_approved_hold_last_again() -> None:
    active = hold().after(HoldEvent(HoldAct.APPROVED, "chief@desk", 1.0))
    asked = active.after(HoldEvent(HoldAct.RELEASE_REQUESTED, "jura@desk", 2.0, "settled"))
    back = asked.after(HoldEvent(HoldAct.RELEASE_WITHDRAWN, "jura@desk", 3.0))
    assert back.state(1e9) is HoldState.ACTIVE


@pytest.mark.parametrize("name", ["acme", "ACME", " acme ", "acme gmbh", "ａｃｍｅ"])
def test_a_hold_matches_every_spelling_of_every_name(name: str) -> None:
    assert blocking([hold()], [name], 1.0)


@pytest.mark.parametrize("name", ["acme2", "acm", "acme/", "%", "*", ""])
def test_a_hold_does_not_match_who_is_only_called_alike(name: str) -> None:
    assert not blocking([hold()], [name], 1.0)


def test_a_selector_covers_a_system_by_either_name_and_a_set_only_by_its_own() -> None:
    assert hold(systems=("postgres",)).covers("blue/postgres", "messages")
    assert hold(systems=("blue/postgres",)).covers("blue/postgres")
    assert not hold(systems=("blue/postgres",)).covers("green/postgres", "messages")
    part = hold(systems=("postgres",), sets=("messages",))
    assert part.covers("blue/postgres", "messages")
    assert not part.covers("blue/postgres", "documents") and not part.covers("blue/postgres")


def test_a_hold_that_cannot_be_read_covers_everything_of_everybody() -> None:
    broken = Hold("ho_2", "", Exception17.LEGAL_CLAIMS, (), unreadable="no such ground")
    assert blocking([broken], ["anybody"], 1e12) and broken.covers("any/system", "any set")


def test_every_state_of_a_request_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(RequestState)
    assert {RequestState.REJECTED, RequestState.CANCELLED, RequestState.COMPLETED} == CLOSED


def test_nothing_gets_to_completed_but_through_verified_live_systems() -> None:
    before = {state for state, following in TRANSITIONS.items() if RequestState.COMPLETED in following}
    assert before == {RequestState.LIVE_ERASED, RequestState.BACKUP_AGING}
    to_live = {state for state, following in TRANSITIONS.items() if RequestState.LIVE_ERASED in following}
    assert to_live == {RequestState.VERIFYING}


def test_one_login_on_two_hosts_is_one_person() -> None:
    assert not different_person("ann@desk", "ANN@laptop")
    assert different_person("ann@desk", "bob@desk")
    assert same_name("Ａnn") == "ann"
