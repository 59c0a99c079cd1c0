"""What the sample application's writers do: the mix of writes, and what each must leave behind.

Nothing here talks to a database. A writer owns rows (those it made, and a slice of the seeded ones that it
claimed), so the last acknowledged value of a row is known; counters are shared by all writers of a tenant.
All ids are chosen before the write goes out: it can be sent again, and checked when the answer is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tenant_lifecycle.sandbox.writes import conversations, documents, people, records
from tenant_lifecycle.sandbox.writes.hand import Draw, Hand
from tenant_lifecycle.sandbox.writes.write import Write

#: How often each kind is drawn, relative to the others.
KINDS: Mapping[Draw, int] = {**documents.KINDS, **conversations.KINDS, **records.KINDS, **people.KINDS}
NAMES = frozenset(draw.__name__ for draw in KINDS)


class Mix:
    """Draws the next write of one writer."""

    def __init__(self, hand: Hand, kinds: Collection[str] = ()) -> None:
        """``kinds`` narrows it to some; empty: all.

        Raises:
            ValueError: a name that is no kind of write.
        """
        unknown = set(kinds) - NAMES
        if unknown:
            raise ValueError(
                f"no kind of write is called {', '.join(sorted(unknown))}; there are {sorted(NAMES)}"
            )
        self._hand = hand
        chosen = {draw: weight for draw, weight in KINDS.items() if not kinds or draw.__name__ in kinds}
        self._draws, self._weights = list(chosen), list(chosen.values())

    def next(self) -> Write:
        """Some write that is possible now (there must be something to delete, for one)."""
        for _ in range(10_000):
            draw = self._hand.random.choices(self._draws, self._weights)[0]
            write = draw(self._hand)
            if write is not None:
                return write
        raise ValueError("none of the chosen kinds of writes is possible without others before it")
