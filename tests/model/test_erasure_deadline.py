"""The clock of Art. 12(3): month ends, extension, alarms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.errors import PreconditionRefused, WrongState
from tenant_lifecycle.model.erasure.deadline import Deadline, months_after

DAY = 86400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-01-31T10:00", "2026-02-28T10:00"),
        ("2026-01-30T10:00", "2026-02-28T10:00"),
        ("2028-01-31T10:00", "2028-02-29T10:00"),
        ("2026-01-28T10:00", "2026-02-27T10:00"),
        ("2026-03-15T10:00", "2026-04-14T10:00"),
        ("2026-04-15T10:00", "2026-05-15T10:00"),
        ("2026-12-31T23:59", "2027-01-30T23:59"),
    ],
)
def test_the_earlier_of_thirty_days_and_one_month_holds(received: str, due: str) -> None:
    assert Deadline(at(received)).due_at == at(due)


moments = st.floats(min_value=0, max_value=4e9).map(round).map(float)


@given(moments)
def test_it_is_never_later_than_thirty_days_nor_than_a_month(received: float) -> None:
    due = Deadline(received).due_at
    assert received + 28 * DAY - 1 <= due <= received + 30 * DAY
    start, end = (datetime.fromtimestamp(one, UTC) for one in (received, due))
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) <= 1


@given(moments, st.integers(min_value=1, max_value=40))
def test_months_later_is_the_same_day_or_the_last_of_its_month(moment: float, months: int) -> None:
    start = datetime.fromtimestamp(moment, UTC)
    end = datetime.fromtimestamp(months_after(moment, months), UTC)
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == start.day or (end.day < start.day and (end + timedelta(days=1)).day == 1)


def test_an_extension_gives_two_more_months_once_within_the_first_with_reason_and_notice() -> None:
    deadline = Deadline(at("2026-01-31T10:00"))
    longer = deadline.extended("complex", "mail-1", at("2026-02-27T10:00"))
    assert longer.due_at == at("2026-04-30T10:00")
    assert longer.first_due_at == deadline.due_at
    with pytest.raises(WrongState):
        longer.extended("again", "mail-2", at("2026-02-27T11:00"))


@pytest.mark.parametrize(
    ("reason", "notice", "when"),
    [(" ", "mail", "2026-02-01"), ("complex", "", "2026-02-01"), ("complex", "mail", "2026-02-28T10:00")],
)
def test_an_extension_without_reason_or_notice_or_too_late_is_refused(
    reason: str, notice: str, when: str
) -> None:
    with pytest.raises(PreconditionRefused):
        Deadline(at("2026-01-31T10:00")).extended(reason, notice, at(when))


def test_alarms_at_half_three_quarters_and_nine_tenths_and_a_breach_after_the_end() -> None:
    deadline = Deadline(0.0)
    span = deadline.due_at
    seen = [deadline.alarm(span * share) for share in (0.49, 0.5, 0.74, 0.75, 0.9, 2.0)]
    assert seen == [None, 0.5, 0.5, 0.75, 0.9, 0.9]
    assert not deadline.breached(span) and deadline.breached(span + 1)


def test_a_clock_set_back_uses_up_nothing_and_breaks_nothing() -> None:
    deadline = Deadline(1e9)
    assert deadline.used(0.0) == 0.0 and deadline.alarm(0.0) is None and not deadline.breached(0.0)


def test_the_latest_safe_start_leaves_room_for_the_slowest_provider() -> None:
    deadline = Deadline(0.0)
    assert deadline.latest_safe_start([3 * DAY, 7 * DAY], 2 * DAY) == deadline.due_at - 9 * DAY
