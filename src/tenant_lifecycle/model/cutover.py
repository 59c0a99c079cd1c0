"""What to do next about a flip, from what the two fences say: the recovery rule as a pure function.

Invariant (I1): at no time are both rows ACTIVE. The source's row goes FENCED -> MOVED before the target's row
becomes ACTIVE, so between the two nobody is the writer, and after MOVED recovery only rolls forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fence(StrEnum):
    """What a store's fence says about a tenant's writes there."""

    ACTIVE = "ACTIVE"
    FENCED = "FENCED"
    MOVED = "MOVED"
    STANDBY = "STANDBY"


@dataclass(frozen=True, slots=True)
class Seen:
    """One side's fence row, as far as a decision needs it."""

    state: Fence
    epoch: int


class Action(StrEnum):
    """What the driver has to do."""

    #: Nothing has happened yet: verify, fence, and so on.
    ATTEMPT = "attempt"
    #: An attempt died under the fence: release it, then attempt.
    RELEASE = "release"
    #: Committed, the target is not active yet: activate it. There is no way back from here but another flip.
    ACTIVATE = "activate"
    #: The target is the writer.
    FINISHED = "finished"
    #: The rows contradict each other; a person has to look.
    CONTRADICTION = "contradiction"


def decide(source: Seen | None, target: Seen | None) -> Action:
    """The next action of a flip from ``source`` to ``target``.

    Both may have been flipped before in either direction; epochs tell which row is newer.
    """
    if source is None or target is None:
        return Action.CONTRADICTION
    match source.state, target.state:
        case (Fence.ACTIVE, Fence.STANDBY | Fence.MOVED) if target.epoch <= source.epoch:
            return Action.ATTEMPT
        case (Fence.FENCED, Fence.STANDBY | Fence.MOVED) if target.epoch <= source.epoch:
            return Action.RELEASE
        case (Fence.MOVED, Fence.STANDBY | Fence.MOVED) if target.epoch < source.epoch:
            return Action.ACTIVATE
        case (Fence.MOVED, Fence.ACTIVE | Fence.FENCED) if target.epoch >= source.epoch:
            return Action.FINISHED
    return Action.CONTRADICTION


def writer(source: Seen | None, target: Seen | None) -> str | None:
    """``source`` or ``target``, whoever accepts writes; None in the instant between commit and activation."""
    if source is not None and source.state in (Fence.ACTIVE, Fence.FENCED):
        return "source"
    if target is not None and target.state in (Fence.ACTIVE, Fence.FENCED):
        return "target"
    return None
