"""Drill: the sides do not have the same columns, before a move and in the middle of one."""

from __future__ import annotations

import time

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import TENANT, Say, Stage, stage
from tenant_lifecycle.sandbox.load import Load


def run(say: Say) -> DrillReport:
    """Production's schema moved on: a column that the other side does not have."""
    with stage(say) as drill, drill.load() as load:
        return _play(drill, load)


def _play(drill: Stage, load: Load) -> DrillReport:
    began = time.monotonic()
    drill.at("blue", "ALTER TABLE documents ADD COLUMN reviewed_by text")
    plan = drill.lifecycle.plan_migration(TenantId(TENANT), "blue", "green")
    refusal = next((f.message for f in plan.refusals if "reviewed_by" in f.message), "")
    detected = time.monotonic() - began
    drill.say(f"plan refused: {refusal}")
    drill.at("green", "ALTER TABLE documents ADD COLUMN reviewed_by text")
    mended = not drill.lifecycle.plan_migration(TenantId(TENANT), "blue", "green").refusals
    id = drill.start()
    drill.wait(id, "verify")
    drill.say("mended and moving; now a column is dropped on blue in the middle of the move")
    drill.at("blue", "ALTER TABLE documents DROP COLUMN reviewed_by")
    drill.signal(id, "promote")
    operation = drill.wait(id)
    home = drill.lifecycle.home(TENANT)
    drill.lifecycle.abort(id, actor="drill")
    ended = drill.wait(id)
    load.stop()
    report = drill.ledger("blue")
    return DrillReport(
        name="schema-change",
        broke="a column of documents was added on blue only, and later dropped there during the move",
        detected=f"before the move: {refusal}; during it: {operation.why}" if refusal else "",
        detect_s=detected,
        by_itself=(
            "refused the plan and named the column",
            "stopped before the flip",
            "cleaned up after the abort",
        ),
        left_to_a_person=("apply the same schema change to both sides, then start again",),
        promises={
            "the plan was accepted once the columns were the same": mended,
            "the flip did not happen over another shape": home == "blue"
            and operation.state is State.ATTENTION,
            "the abort ended clean": ended.state in (State.ABORTED, State.ROLLED_BACK),
            "no acknowledged write lost, doubled or wrong": report.ok and report.acknowledged > 0,
        },
    )
