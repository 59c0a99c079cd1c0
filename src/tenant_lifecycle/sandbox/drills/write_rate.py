"""Drill: the tenant writes faster than 10,000 rows a second while it moves."""

from __future__ import annotations

import time

from tenant_lifecycle.model.operation import State
from tenant_lifecycle.model.plan import Cutover
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import Say, Stage, stage

#: Row changes a second that the load asks for; what it reached is measured.
RATE = 12_000
#: How long the load goes on at full rate if the tenant is not on green before, seconds.
_HURRY_S = 30.0


def run(say: Say) -> DrillReport:
    """A bulk writer for the length of copy, catching up and flip."""
    with stage(say) as drill:
        return _play(drill)


def _play(drill: Stage) -> DrillReport:
    with drill.load(rate=20.0, burst=RATE) as load:
        began = time.monotonic()
        id = drill.start(Cutover.AUTO, workers=4)
        drill.say(f"{RATE:,} row changes a second are asked for; the move begins")
        worst = 0.0
        while time.monotonic() - began < _HURRY_S and not _flipped(drill, id):
            worst = max(worst, _lag(drill, id))
            time.sleep(0.05)
        in_time = _flipped(drill, id)
        abandoned = drill.events(id, "flip-abandoned")
        behind = drill.events(id, "falling-behind")
        drill.say(
            "flipped under full load" if in_time else "not yet: too much is under way; the load eases off"
        )
        summary = load.stop() if not in_time else None
        operation = drill.wait(id, "flip/1")
        took = time.monotonic() - began
        if summary is None:
            summary = load.stop()
    rate = summary.burst_rows / summary.seconds
    signs = [
        *(str(one.get("why", "")) for one in abandoned[:1]),
        *(str(one.get("why", "")) for one in behind[:1]),
    ]
    report = drill.ledger("green")
    return DrillReport(
        name="write-rate",
        broke=f"{rate:,.0f} row changes a second were written during the move ({summary.burst_rows:,} in all)",
        detected="; ".join([f"lag shown while it happened, at most {worst:.2f} s", *signs]),
        detect_s=took,
        by_itself=(
            f"copied with 4 workers while {rate:,.0f} changes a second were spooled",
            f"gave up {len(abandoned)} attempt(s) to flip before their commit point, and tried again",
            "flipped under full load"
            if in_time
            else "flipped as soon as what is under way fitted the budget",
        ),
        left_to_a_person=(
            ()
            if in_time
            else ("offer a short window: --strategy maintenance_window, or ease the bulk writer off",)
        ),
        promises={
            "the move ended on green": operation.state is not State.ATTENTION and _flipped(drill, id),
            "no acknowledged write lost, doubled or wrong": report.ok and report.acknowledged > 0,
            "no write failed": summary.failed == 0,
        },
    )


def _flipped(drill: Stage, id: str) -> bool:
    return any(step.key == "flip/1" and step.done_at is not None for step in drill.lifecycle.steps(id))


def _lag(drill: Stage, id: str) -> float:
    """What the move shows of its lag at the moment, seconds."""
    details = [step.detail for step in drill.lifecycle.steps(id) if step.key == "catch-up"]
    return float(details[-1].get("lag_s", 0.0)) if details else 0.0
