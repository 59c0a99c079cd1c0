"""The gradual cutover on the command line: shares, gates, going on, going back, and the post-mortem."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from test_goals import PROMOTE, RUNNING, flip
from test_tree import COPYING, step
from test_why import STEP

from scripted import Run, ScriptedLifecycle
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Flipped, Promoted, SentBack
from tenant_lifecycle.cli.tree import tree
from tenant_lifecycle.model.operation import StepStatus
from tenant_lifecycle.model.postmortem import Moment, Postmortem

GATE = {
    "gate": "errors", "source": "edge", "verdict": "pass", "sentence": "0.1 % of 1000 requests failed",
    "target": 0.001, "other": 0.001, "limit": 0.05,
}  # fmt: skip
HOLD, SHIFT = replace(STEP, key="hold/1", ord=20), replace(STEP, key="shift/10", ord=9)
BACK = replace(STEP, key="back/1", ord=15, status=StepStatus.DONE)


def test_the_tree_shows_the_share_and_every_gate() -> None:
    document = copy.deepcopy(COPYING)
    detail = {"share": {"blue": 75, "green": 25}, "writer": "blue", "gates": [GATE]}
    document["steps"].append(
        step("shift/25", "25 % of the requests to the target", "14:03:00", None, detail=detail)
    )
    text = "\n".join(line.plain for line in tree(document, 140))
    assert "blue 75 %, green 25 %, writes to blue" in text
    assert "pass          errors (edge): 0.1 % of 1000 requests failed" in text


def test_waiting_ends_where_requests_went_back_and_a_person_is_needed() -> None:
    assert Flipped(1).reached(RUNNING, [SHIFT]) is None
    assert Flipped(1).reached(RUNNING, [BACK, HOLD]) is ExitCode.WAITS_FOR_PERSON
    # The promote that was just said is a moment away; a gate that fails once more is not.
    assert Promoted(1, "hold/1").reached(RUNNING, [BACK, HOLD]) is None
    again = replace(HOLD, key="hold/2")
    assert Promoted(1, "hold/1").reached(RUNNING, [BACK, again]) is ExitCode.WAITS_FOR_PERSON
    assert Promoted(1).reached(RUNNING, [PROMOTE]) is None
    assert Promoted(1).reached(RUNNING, [flip(1)]) is ExitCode.OK
    assert SentBack(1).reached(RUNNING, [SHIFT]) is None
    assert SentBack(1).reached(RUNNING, [BACK]) is ExitCode.OK
    assert SentBack(2).reached(RUNNING, [BACK]) is None


def test_steps_and_strategy_are_options(run: Run, service: ScriptedLifecycle) -> None:
    asked = []
    plan = service.plan_migration
    service.plan_migration = lambda tenant, source, target, options=None, **more: (  # type: ignore[method-assign]
        asked.append(options) or plan(tenant, source, target, options, **more)
    )
    ran = run(
        "migrate", "plan", "acme", "--to", "green", "--steps", "5,50", "--strategy", "rolling", "--json"
    )
    assert ran.code == 0
    assert asked[0].cutover_steps == (5, 50) and asked[0].strategy.value == "rolling"
    assert ran.json["strategy"] == "zero_downtime", "the scripted service plans as it likes"
    assert run("migrate", "plan", "acme", "--to", "green", "--steps", "50,5").code == int(ExitCode.USAGE)


def test_a_migration_that_never_went_back_has_no_post_mortem(run: Run, service: ScriptedLifecycle) -> None:
    run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "20s")
    ran = run("migrate", "postmortem", "acme")
    assert ran.code == 0 and "no request ever had to go back" in ran.out
    assert run("migrate", "postmortem", "acme", "--json").json["postmortems"] == []


HOSTILE = "a``b`\n# x | <script>*_["


def report(tenant: str) -> Postmortem:
    return Postmortem(
        "op_1", 1, tenant, "blue", "green", 25, f"12 % of requests failed {HOSTILE}", [GATE | {"verdict": "fail"}],
        [GATE], {"edge": {"target": None, "other": None, "why": "no answer"}}, 34.6, [Moment(0.0, "it <b>began</b>")],
        ["went back"], ["look"],
    )  # fmt: skip


def test_a_post_mortem_has_two_forms_and_survives_the_journal() -> None:
    made = report("acme")
    assert Postmortem.from_json(made.as_json()) == made
    text = made.markdown()
    for part in (
        "# Post-mortem 1 of op",
        "at 25 % of the requests",
        "35 ms",
        "1970-01-01T00:00:00.000Z",
        "1. look",
    ):
        assert part in text, part


@pytest.mark.parametrize("tenant", ["acme", HOSTILE, "`", "```"])
def test_nothing_in_a_post_mortem_is_taken_for_a_mark(tenant: str) -> None:
    text = report(tenant).markdown()
    outside = [line for line in text.splitlines() if not line.startswith("Tenant ")]
    assert "<script>" not in "".join(outside) and "<b>" not in text
    assert len([line for line in text.splitlines() if line.startswith("# ")]) == 1
