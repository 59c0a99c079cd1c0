"""Drill: the two sides differ, because somebody wrote to the one that is not the writer."""

from __future__ import annotations

import time

from tenant_lifecycle.model.operation import State
from tenant_lifecycle.sandbox.drills.report import DrillReport
from tenant_lifecycle.sandbox.drills.stage import TENANT, Say, Stage, stage
from tenant_lifecycle.sandbox.load import Load

#: More differences than this and a person must look.
_REPAIRS = 5
_MARK = "written on the wrong side"


def run(say: Say) -> DrillReport:
    """A script with triggers off writes to green while blue is the writer."""
    with stage(say, f"policies: {{max_repairs: {_REPAIRS}}}\n") as drill, drill.load() as load:
        return _play(drill, load)


def _play(drill: Stage, load: Load) -> DrillReport:
    id = drill.start()
    drill.wait(id, "verify")
    drill.say("verified; now one row is changed on green, past the fence")
    began = time.monotonic()
    _write(drill, 1)
    drill.until(lambda: bool(drill.events(id, "foreign-writes")), "the foreign write to be noticed")
    noticed = time.monotonic() - began
    drill.until(lambda: _marked(drill, "green") == 0, "the foreign write to be mended")
    drill.say(
        f"noticed after {noticed:.2f} s, and made equal to blue again; now more rows than may be mended"
    )
    _write(drill, 3 * _REPAIRS)
    operation = drill.wait(id)
    drill.signal(id, "promote")
    time.sleep(1.0)
    home = drill.lifecycle.home(TENANT)
    drill.lifecycle.abort(id, actor="drill")
    ended = drill.wait(id)
    load.stop()
    report = drill.ledger("blue")
    return DrillReport(
        name="data-inconsistency",
        broke=f"rows of {TENANT} changed on green with triggers off: first 1, then {3 * _REPAIRS}",
        detected=f"the way back saw it and verification stopped the move: {operation.why}",
        detect_s=noticed,
        by_itself=(
            "kept the foreign value out of blue",
            f"mended one row; refused to mend more than {_REPAIRS}",
            "took the copy away again after the abort",
        ),
        left_to_a_person=("find who writes to green; then start again",),
        promises={
            "the flip did not happen over a difference": home == "blue"
            and operation.state is State.ATTENTION,
            "blue never saw the foreign value": _marked(drill, "blue") == 0,
            "no acknowledged write lost, doubled or wrong": report.ok and report.acknowledged > 0,
            "the abort ended clean": ended.state in (State.ABORTED, State.ROLLED_BACK),
        },
    )


def _write(drill: Stage, rows: int) -> None:
    drill.at(
        "green",
        "UPDATE documents SET title = %(mark)s WHERE id IN "
        "(SELECT id FROM documents WHERE tenant_id = %(tenant)s AND title <> %(mark)s LIMIT %(rows)s)",
        {"mark": _MARK, "tenant": TENANT, "rows": rows},
        triggers=False,
    )


def _marked(drill: Stage, environment: str) -> int:
    rows = drill.at(environment, "SELECT count(*) FROM documents WHERE title = %s", (_MARK,))
    return int(str(rows[0][0]))
