"""Why a moment cannot be restored, in words, with the moments that can."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.manifest import RestoreWindow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_text(at_us: int) -> str:
    """``2026-11-24T10:00:00.000000Z``; a number if no calendar has it."""
    try:
        return (
            (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        )
    except OverflowError:
        return f"{at_us} microseconds after 1970"


def no_base() -> NotRestorable:
    return NotRestorable("the tenant has no base", next_step="make one: tenantctl backup create TENANT")


def not_restorable(at_us: int, window: RestoreWindow, now_us: int, timeline: int | None) -> NotRestorable:
    """The error for this moment: its message says why, its next step the nearest moments and all intervals."""
    where = "" if timeline is None else f" on time-line {timeline}"
    return NotRestorable(
        f"{moment_text(at_us)} cannot be restored{where}: {_why(at_us, window, now_us)}",
        next_step=_nearest(at_us, window),
    )


def _why(at_us: int, window: RestoreWindow, now_us: int) -> str:
    if at_us > now_us:
        return "it lies in the future"
    if not window.intervals:
        return "there is no base whose change log is complete"
    if at_us < window.intervals[0].from_us:
        return "it lies before the first moment that can be restored"
    for gap in window.gaps:
        if gap.from_us < at_us < gap.to_us:
            return f"{gap.why} ({gap.store})" if gap.store else gap.why
    if at_us > window.intervals[-1].to_us:
        return "the change log does not reach it"
    return "commits were not in the order of their times there"


def _nearest(at_us: int, window: RestoreWindow) -> str:
    if not window.intervals:
        return "make a base: tenantctl backup create TENANT, and see that the archiver runs: tenantctl archiver status"
    edges = [edge for one in window.intervals for edge in (one.from_us, one.to_us)]
    before = [edge for edge in edges if edge < at_us]
    after = [edge for edge in edges if edge > at_us]
    nearest = [moment_text(max(before))] if before else []
    nearest += [moment_text(min(after))] if after else []
    listed = [f"{moment_text(one.from_us)} to {moment_text(one.to_us)}" for one in window.intervals[-8:]]
    return f"nearest: {' or '.join(nearest)}; intervals that can be restored: {', '.join(listed)}"
