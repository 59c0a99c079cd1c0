"""When somebody has to look: log that piles up in the database, coverage that falls behind, tables that are left out."""

from __future__ import annotations

from collections.abc import Mapping

from tenant_lifecycle.model.findings import Finding, Severity

#: Shares of what the server keeps at most, before it gives the slot up.
WARN_SHARE, ALARM_SHARE = 0.25, 0.5
#: Bytes where the server sets no limit: then it is its disk that fills.
WARN_BYTES, ALARM_BYTES = 1 << 30, 4 << 30
#: Times the promised seconds.
WARN_LATE, ALARM_LATE = 2.0, 10.0


def room(store: str, held: int, limit: int | None) -> list[Finding]:
    """Of log that is kept for the archiver; nothing is ever dropped to make room."""
    warn, alarm = (WARN_BYTES, ALARM_BYTES) if limit is None else (WARN_SHARE * limit, ALARM_SHARE * limit)
    if held < warn:
        return []
    severity = Severity.REFUSAL if held >= alarm else Severity.WARNING
    of = "and no max_slot_wal_keep_size" if limit is None else f"of at most {limit >> 20} MiB"
    return [
        Finding(
            "archive.room", severity, f"{held >> 20} MiB of log are kept for the archiver, {of}",
            "see why the archiver is behind: tenantctl archiver status; make room on the server", store,
        )
    ]  # fmt: skip


def lateness(store: str, behind_s: float, rpo_s: float) -> list[Finding]:
    """Of coverage behind the present."""
    if behind_s < WARN_LATE * rpo_s:
        return []
    severity = Severity.REFUSAL if behind_s >= ALARM_LATE * rpo_s else Severity.WARNING
    return [
        Finding(
            "archive.late", severity, f"the archive is {behind_s:.0f} s behind; {rpo_s:.0f} s are promised",
            "see whether database and repository answer: tenantctl doctor", store,
        )
    ]  # fmt: skip


def left_out(store: str, uncovered: Mapping[str, str]) -> list[Finding]:
    """Tables whose changes are in no archive."""
    return [
        Finding(
            "archive.uncovered", Severity.REFUSAL, f"changes of {name} are not archived: it {why}",
            "change the table, give it a rule, or declare it global", store,
        )
        for name, why in sorted(uncovered.items())
    ]  # fmt: skip


def not_journaled(store: str, tenants: int) -> list[Finding]:
    """Tenants whose application does not enter keys before it writes them."""
    return [
        Finding(
            "archive.not-journaled", Severity.REFUSAL,
            f"keys of {tenants} tenants are not archived: nobody enters them in the journal before writing",
            "arm the tenants' fences and have the application use the client", store,
        )
    ]  # fmt: skip
