"""Times as certificates write them, and the arithmetic of the deadline of Art. 12(3) GDPR."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

from tenant_certificate_verify.strict import Invalid

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def time_of(text: object, what: str) -> datetime:
    """The time of ``2026-11-24T12:00:00Z``.

    Raises:
        Invalid: another form, or no such day.
    """
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise Invalid(f"{what}: no time of the form 2026-11-24T12:00:00Z")
    try:
        return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid(f"{what}: there is no such time") from error


def text_of(time: datetime) -> str:
    """The time as text."""
    return time.strftime(_FORMAT)


def due(received: datetime) -> datetime:
    """When an answer is due: after 30 days or one calendar month, whichever is earlier."""
    return min(received + timedelta(days=30), months_later(received, 1))


def months_later(time: datetime, months: int) -> datetime:
    """The same day of a later month, or that month's last."""
    year, month = divmod(time.year * 12 + time.month - 1 + months, 12)
    day = min(time.day, calendar.monthrange(year, month + 1)[1])
    return time.replace(year=year, month=month + 1, day=day)
