"""Legal holds: what forbids a deletion, worked out from an append-only history.

A hold blocks from the moment it is proposed. It ends only by a release that a second person confirms, and even then
goes on blocking for a while. What cannot be read counts as held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.errors import PreconditionRefused, WrongState
from tenant_lifecycle.model.erasure.manifest import within
from tenant_lifecycle.model.erasure.people import different_person
from tenant_lifecycle.model.erasure.request import Exception17, same_name

#: A proposal that nobody approves lapses after this.
PROPOSAL_S = 72 * 3600.0
#: A release takes effect so long after it was confirmed, and the hold blocks until then.
RELEASE_DELAY_S = 7 * 86400.0


class HoldState(StrEnum):
    """Where a hold is."""

    #: Blocks; lapses unless a second person approves it.
    PROPOSED = "PROPOSED"
    ACTIVE = "ACTIVE"
    #: Somebody wants it gone; blocks until a second person confirms and the delay is over.
    RELEASE_REQUESTED = "RELEASE_REQUESTED"
    #: Confirmed; blocks until the delay is over.
    RELEASING = "RELEASING"
    RELEASED = "RELEASED"
    #: Was proposed and never approved.
    LAPSED = "LAPSED"


class HoldAct(StrEnum):
    """What people did to a hold."""

    PLACED = "placed"
    APPROVED = "approved"
    RELEASE_REQUESTED = "release_requested"
    RELEASE_CONFIRMED = "release_confirmed"
    RELEASE_WITHDRAWN = "release_withdrawn"


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """One line of a hold's history."""

    act: HoldAct
    by: str
    at: float
    reason: str = ""
    #: RELEASE_CONFIRMED: seconds from then until it stops blocking.
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold with its history; the history says which state it is in."""

    id: str
    #: The legal matter; several holds may be about one tenant for different matters.
    matter: str
    ground: Exception17
    #: The tenant under every name it has.
    names: tuple[str, ...]
    #: Systems it covers (``blue/postgres``, or ``postgres`` for that store in every environment); empty: all.
    systems: tuple[str, ...] = ()
    #: Sets inside them; empty: all.
    sets: tuple[str, ...] = ()
    #: When somebody has to look whether it is still needed; it blocks on after that.
    review_at: float | None = None
    history: tuple[HoldEvent, ...] = ()
    #: "" or why the register's row cannot be read; such a hold covers everything.
    unreadable: str = ""

    def state(self, now: float) -> HoldState:
        """What the history says."""
        state, since = HoldState.PROPOSED, 0.0
        for event in self.history:
            state, since = _AFTER[event.act], event.at + event.delay_s
        if any(event.act is HoldAct.APPROVED for event in self.history) and state is HoldState.PROPOSED:
            state = HoldState.ACTIVE
        if state is HoldState.PROPOSED and self.history and now >= since + PROPOSAL_S:
            return HoldState.LAPSED
        if state is HoldState.RELEASING and now >= since:
            return HoldState.RELEASED
        return state

    def blocks(self, now: float) -> bool:
        """Whether it forbids deletions now."""
        return bool(self.unreadable) or self.state(now) not in (HoldState.RELEASED, HoldState.LAPSED)

    def blocks_until(self, now: float) -> float | None:
        """When it stops by itself; None: only people can end it, or it does not block."""
        state = self.state(now)
        if state is HoldState.RELEASING:
            return self.history[-1].at + self.history[-1].delay_s
        return self.history[-1].at + PROPOSAL_S if state is HoldState.PROPOSED and self.history else None

    def is_about(self, names: Iterable[str]) -> bool:
        """Whether it is about a tenant with one of these names; never because one name begins like another."""
        if self.unreadable:
            return True
        mine = {same_name(name) for name in self.names}
        return any(same_name(name) in mine for name in names)

    def covers(self, system: str, set_name: str | None = None) -> bool:
        """Whether it covers a set of a system; without a set, whether it covers all of the system."""
        if self.unreadable:
            return True
        if self.systems and not any(one in (system, system.rpartition("/")[2]) for one in self.systems):
            return False
        return not self.sets or (set_name is not None and any(within(set_name, one) for one in self.sets))

    def after(self, event: HoldEvent) -> Hold:
        """The hold with one more line of history.

        Raises:
            WrongState: it is not in a state for that, or is over.
            PreconditionRefused: the same person twice, or no reason.
        """
        _refuse(self, event)
        return Hold(
            self.id, self.matter, self.ground, self.names, self.systems, self.sets, self.review_at,
            (*self.history, event), self.unreadable,
        )  # fmt: skip


_AFTER = {
    HoldAct.PLACED: HoldState.PROPOSED,
    HoldAct.APPROVED: HoldState.ACTIVE,
    HoldAct.RELEASE_REQUESTED: HoldState.RELEASE_REQUESTED,
    HoldAct.RELEASE_CONFIRMED: HoldState.RELEASING,
    #: Back to what it was: `Hold.state` makes it ACTIVE if it had been approved.
    HoldAct.RELEASE_WITHDRAWN: HoldState.PROPOSED,
}
#: Act -> states in which it is possible.
_POSSIBLE = {
    HoldAct.PLACED: frozenset[HoldState](),
    HoldAct.APPROVED: frozenset({HoldState.PROPOSED}),
    HoldAct.RELEASE_REQUESTED: frozenset({HoldState.PROPOSED, HoldState.ACTIVE}),
    HoldAct.RELEASE_CONFIRMED: frozenset({HoldState.RELEASE_REQUESTED}),
    HoldAct.RELEASE_WITHDRAWN: frozenset({HoldState.RELEASE_REQUESTED, HoldState.RELEASING}),
}
#: Act -> the act whose author may not be the same person.
_SECOND_PERSON = {
    HoldAct.APPROVED: HoldAct.PLACED,
    HoldAct.RELEASE_CONFIRMED: HoldAct.RELEASE_REQUESTED,
}


def _refuse(hold: Hold, event: HoldEvent) -> None:
    state = hold.state(event.at)
    if state not in _POSSIBLE[event.act]:
        raise WrongState(f"hold {hold.id} is {state}: {event.act.replace('_', ' ')} is not possible")
    if event.act is HoldAct.RELEASE_REQUESTED and not event.reason.strip():
        raise PreconditionRefused("a release needs a reason", next_step="give --reason")
    first = _SECOND_PERSON.get(event.act)
    if first is not None:
        author = next(past.by for past in reversed(hold.history) if past.act is first)
        if not different_person(author, event.by):
            raise PreconditionRefused(
                f"{author} {first.replace('_', ' ')} it: a second person has to agree",
                next_step="ask somebody else",
            )


def blocking(holds: Iterable[Hold], names: Iterable[str], now: float) -> list[Hold]:
    """The holds that block something of a tenant now."""
    called = list(names)
    return [hold for hold in holds if hold.blocks(now) and hold.is_about(called)]


def holder_of(holds: Sequence[Hold], system: str, set_name: str) -> Hold | None:
    """The hold that keeps this set: of several, the one that blocks longest by its kind (any of them will do)."""
    return next((hold for hold in holds if hold.covers(system, set_name)), None)
