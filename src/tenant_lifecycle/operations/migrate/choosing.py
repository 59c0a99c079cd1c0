"""Which strategy a migration follows, what speaks against it, and what it costs the tenant."""

from __future__ import annotations

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.plan import Cutover, Estimate
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.model.strategy import EXPLAINED, Strategy
from tenant_lifecycle.model.window import Window, read_opening
from tenant_lifecycle.operations.pairs import Pair
from tenant_lifecycle.stores.windows import Windows


def explain(policy: MigrationPolicy) -> str:
    """Which strategy, why, and what it does, in one sentence."""
    return f"{policy.strategy.value} ({policy.strategy_why}): {EXPLAINED[policy.strategy]}"


def window_of(policy: MigrationPolicy, now: float) -> Window | None:
    """The window that a migration planned now would have; None with another strategy.

    Raises:
        UsageError: its opening is no moment, or over.
    """
    if policy.strategy is not Strategy.MAINTENANCE_WINDOW:
        return None
    try:
        opens = read_opening(policy.window.opens, now) if policy.window.opens else None
    except ValueError as error:
        raise UsageError(f"the window: {error}", next_step="correct --window-start") from None
    return Window(opens, policy.window.seconds)


def expected_pause(policy: MigrationPolicy, copying: Estimate) -> Estimate:
    """How long the tenant cannot write, reckoned."""
    match policy.strategy:
        case Strategy.MAINTENANCE_WINDOW:
            return Estimate(
                min(2 * copying.seconds, policy.window.seconds),
                "copying, and comparing reckoned to take as long; the window's length at most",
            )
        case Strategy.ROLLING:
            return Estimate(0.0, "no data moves, so no write is held")
        case _:
            limit = policy.flip.lock_s + policy.flip.marker_s
            return Estimate(limit, "the limits of one flip; without a long transaction it is milliseconds")


def look_at_window(pair: Pair, policy: MigrationPolicy, pause: Estimate) -> list[Finding]:
    """What speaks against a window; nothing with another strategy."""
    if policy.strategy is not Strategy.MAINTENANCE_WINDOW:
        return []
    findings = [
        Finding(
            "plan.window", Severity.WARNING,
            "the tenant cannot write from the opening of the window until the flip: writes are refused with SQLSTATE "
            "TL005 and the window's end; reads go on. A rollback holds writes for milliseconds, like any flip",
            "announce the window; --strategy zero_downtime does without", "window",
        )
    ]  # fmt: skip
    if not isinstance(pair.judge.source, Windows):
        findings.append(
            Finding(
                "plan.window-unsupported", Severity.REFUSAL,
                f"{pair.judge.source.name} ({pair.judge.source.kind}) cannot hold writes for a window",
                "--strategy zero_downtime", pair.judge.source.name,
            )
        )  # fmt: skip
    if policy.cutover is Cutover.MANUAL:
        findings.append(
            Finding(
                "plan.window-manual", Severity.REFUSAL,
                "cutover manual would hold the tenant's writes until a person comes",
                "--cutover auto: in a window the flip follows as soon as everything is verified", "cutover",
            )
        )  # fmt: skip
    if pause.seconds >= policy.window.seconds:
        findings.append(
            Finding(
                "plan.window-short", Severity.WARNING,
                f"the window of {format_duration(policy.window.seconds)} is reckoned to be too short; "
                "what is not done at its end is taken back",
                "--window-for with more, or more --workers", "window",
            )
        )  # fmt: skip
    return findings
