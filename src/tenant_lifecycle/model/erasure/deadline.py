"""The clock of a request: when the answer is due under Art. 12(3) GDPR, how urgent it is, and when it is too late.

The law says *one month*; systems count *30 days*. Both are reckoned and the earlier one holds. A weekend is slack,
never an extension. All arithmetic is in UTC, on seconds since 1970.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tenant_lifecycle.errors import PreconditionRefused, WrongState

#: Shares of the time after which people are warned.
ALARMS = (0.5, 0.75, 0.9)
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the answer is due."""

    received_at: float
    #: "" or why two more months were taken.
    extended_because: str = ""
    #: The record that the person who asked was told; an extension without one does not exist.
    notice: str = ""
    extended_at: float | None = None

    @property
    def due_at(self) -> float:
        """The earlier of 30 days and one calendar month; extended: of 90 days and three months."""
        months = 3 if self.extended_at is not None else 1
        return min(self.received_at + months * 30 * _DAY_S, months_after(self.received_at, months))

    @property
    def first_due_at(self) -> float:
        """When it was due before any extension; the notice of one has to be out by then."""
        return replace(self, extended_at=None).due_at

    def extended(self, reason: str, notice: str, now: float) -> Deadline:
        """With two more months.

        Raises:
            PreconditionRefused: no reason, no notice, or the first month is over.
            WrongState: it was extended before; there is one extension.
        """
        if self.extended_at is not None:
            raise WrongState("the time was extended before, and there is one extension")
        if not reason.strip() or not notice.strip():
            raise PreconditionRefused(
                "an extension needs a reason and the record of the notice to the person who asked",
                next_step="give --reason and --notice",
            )
        if now >= self.first_due_at:
            raise PreconditionRefused(
                "the first month is over: an extension had to be told before its end",
                next_step="answer now; the breach stays on record",
            )
        return replace(self, extended_because=reason, notice=notice, extended_at=now)

    def used(self, now: float) -> float:
        """Share of the time that is gone; more than 1 after the due date, 0 if the clock was set back."""
        return max(0.0, (now - self.received_at) / (self.due_at - self.received_at))

    def alarm(self, now: float) -> float | None:
        """The highest alarm that was passed; None while there is none."""
        used = self.used(now)
        return max((share for share in ALARMS if used >= share), default=None)

    def breached(self, now: float) -> bool:
        """Whether the due date has passed."""
        return now > self.due_at

    def latest_safe_start(self, provider_s: Iterable[float], margin_s: float) -> float:
        """The last moment to begin so that the longest step of a provider still ends in time."""
        return self.due_at - max(provider_s, default=0.0) - margin_s


def months_after(moment: float, months: int) -> float:
    """The same day and time ``months`` later, or the last day of that month if it has no such day."""
    start = datetime.fromtimestamp(moment, UTC)
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    last = calendar.monthrange(year, month + 1)[1]
    moved = start.replace(year=year, month=month + 1, day=min(start.day, last))
    return (moved - datetime.fromtimestamp(0, UTC)) / timedelta(seconds=1)
