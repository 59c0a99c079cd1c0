"""Drill: the old side is emptied, and a store is away meanwhile. "Done" must not be said."""

from __future__ import annotations

import time

from tenant_lifecycle.model.operation import State
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import NEIGHBOUR, TENANT, Say, Stage, stage

_AWAY_S = 3.0


def run(say: Say) -> DrillReport:
    """Blue's server dies in the moment the tenant is to be deleted there."""
    with stage(say) as drill:
        with drill.load():
            return _play(drill)


def _play(drill: Stage) -> DrillReport:
    id = drill.start()
    drill.wait(id, "verify")
    drill.signal(id, "promote")
    drill.wait(id, "flip/1")
    neighbours = _rows(drill, NEIGHBOUR)
    drill.say("green is the writer; blue's server is killed, and then the old side is to be emptied")
    drill.sandbox.server("blue").kill()
    began = time.monotonic()
    drill.signal(id, "complete")
    drill.until(lambda: "blue" in _why(drill, id), "the reason to be named")
    detected, why = time.monotonic() - began, _why(drill, id)
    time.sleep(_AWAY_S)
    said_done = drill.lifecycle.operation(id).state is State.SUCCEEDED
    drill.sandbox.server("blue").start()
    operation = drill.wait(id)
    left = _rows(drill, TENANT)
    return DrillReport(
        name="incomplete-deletion",
        broke="blue's server was killed before the tenant's rows there were deleted",
        detected=f"the operation waits and says why: {why}",
        detect_s=detected,
        by_itself=("tried again until blue answered", "verified once more, then deleted, children first"),
        left_to_a_person=("nothing; if blue never comes back, op abort refuses and says so",),
        promises={
            "it never said done while a store was away": not said_done,
            "it said done in the end": operation.state is State.SUCCEEDED,
            "nothing of the tenant is left on blue": left == 0,
            "the neighbour kept its rows": _rows(drill, NEIGHBOUR) >= neighbours > 0,
        },
    )


def _why(drill: Stage, id: str) -> str:
    operation = drill.lifecycle.operation(id)
    if operation.error is not None:
        return operation.error.message
    failing = [step.error.message for step in drill.lifecycle.steps(id) if step.error is not None]
    return failing[-1] if failing else operation.why


def _rows(drill: Stage, tenant: str) -> int:
    rows = drill.at(
        "blue",
        "SELECT (SELECT count(*) FROM documents WHERE tenant_id = %(t)s) "
        "+ (SELECT count(*) FROM usage_events WHERE tenant_id = %(t)s) "
        "+ (SELECT count(*) FROM tenants WHERE id = %(t)s)",
        {"t": tenant},
    )
    return int(str(rows[0][0]))
