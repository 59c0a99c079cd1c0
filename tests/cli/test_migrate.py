"""A migration from the command line: what each command does, says, and ends with."""

from __future__ import annotations

import json

from scripted import DIFFERENCE, FINE, REFUSAL, WARNING, Run, ScriptedLifecycle


def start(run: Run, *more: str) -> str:
    ran = run("migrate", "start", "acme", "--to", "green", "--json", *more)
    assert ran.code == 0, ran.err
    return str(ran.json["operation"]["id"])


def test_a_plan_shows_sizes_and_refusals_and_offers_to_run_exactly_it(run: Run) -> None:
    ran = run("migrate", "plan", "acme", "--to", "green")
    assert ran.code == 0
    assert "~2 500 000" in ran.out
    assert "11.2 GB" in ran.out
    assert "REFUSALS  none" in ran.out
    digest = next(line.split()[1] for line in ran.out.splitlines() if line.startswith("hash"))
    assert f"Next: tenantctl migrate start acme --from blue --to green --if-plan {digest}" in ran.err


def test_a_plan_that_would_be_refused_says_why_and_how_to_mend_it_and_ends_with_6(
    run: Run, service: ScriptedLifecycle
) -> None:
    service.findings = [FINE, WARNING, REFUSAL]
    ran = run("migrate", "plan", "acme", "--to", "green")
    assert ran.code == 6
    assert "wal_level is replica" in ran.out
    assert "mend: set wal_level = logical" in ran.out
    assert "1 warning(s)" in ran.out
    assert "Next:" not in ran.err


def test_a_dry_run_of_start_gives_the_refusals_of_the_real_run_and_starts_nothing(
    run: Run, service: ScriptedLifecycle
) -> None:
    service.findings = [REFUSAL]
    dry = run("migrate", "start", "acme", "--to", "green", "--dry-run", "--json")
    real = run("migrate", "start", "acme", "--to", "green", "--json")
    assert (dry.code, real.code) == (6, 6)
    assert dry.json["refusals"][0]["code"] == real.error["findings"][0]["code"] == "pg.wal-level"
    assert run("op", "list", "--json").json["operations"] == []


def test_start_with_wait_ends_when_the_target_is_the_writer(run: Run) -> None:
    ran = run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "20s", "--json")
    assert ran.code == 0
    steps = {step["key"]: step for step in ran.json["steps"]}
    assert steps["flip/1"]["output"]["timing"]["pause_ms"] == 7.25
    assert not ran.json["operation"]["terminal"]


def test_a_whole_migration_back_and_forth_and_complete(run: Run) -> None:
    wait = ("--wait", "--timeout", "20s")
    operation = start(run, *wait)
    assert run("migrate", "rollback", "acme", "--yes", *wait).code == 0
    assert run("migrate", "promote", "acme", *wait).code == 0
    assert run("migrate", "complete", "acme", "--confirm", "acme", *wait).code == 0
    done = run("op", "get", operation, "--json").json
    assert done["operation"]["state"] == "succeeded"
    assert [step["key"] for step in done["steps"]].count("flip/3") == 1


def test_manual_cutover_waits_for_a_person_and_says_so_in_its_exit_code(run: Run) -> None:
    ran = run(
        "migrate", "start", "acme", "--to", "green", "--cutover", "manual", "--wait", "--timeout", "20s"
    )
    assert ran.code == 7
    assert run("migrate", "promote", "acme", "--wait", "--timeout", "20s").code == 0
    again = run("migrate", "promote", "acme", "--json")
    assert again.code == 5
    assert "is the writer already" in again.error["message"]


def test_a_timeout_leaves_the_operation_going(run: Run, service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    ran = run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "300ms")
    assert ran.code == 8
    assert "The operation goes on" in ran.err
    assert run("migrate", "status", "acme", "--json").json["operation"]["terminal"] is False


def test_a_second_start_names_the_operation_that_is_there(run: Run, service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    first = start(run)
    ran = run("migrate", "start", "acme", "--to", "green", "--json")
    assert ran.code == 5
    assert ran.error["kind"] == "TenantBusy"
    assert ran.error["operation"] == first


def test_a_plan_that_changed_since_it_was_reviewed_is_not_run(run: Run) -> None:
    reviewed = run("migrate", "plan", "acme", "--to", "green", "--json").json["plan_hash"]
    ran = run("migrate", "start", "acme", "--to", "green", "--workers", "7", "--if-plan", reviewed, "--json")
    assert ran.code == 5
    assert ran.error["kind"] == "PlanChanged"


def test_pause_and_resume(run: Run, service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    start(run)
    paused = run("migrate", "pause", "acme", "--wait", "--timeout", "20s", "--reason", "CHG-7", "--json")
    assert paused.code == 0
    assert paused.json["operation"]["state"] == "paused"
    assert paused.json["next_steps"][0]["command"].startswith("tenantctl op resume op_")
    service.script.hold.set()
    assert run("migrate", "resume", "acme").code == 0
    history = run("op", "events", "acme", "--json").json["events"]
    assert any(event["detail"].get("reason") == "CHG-7" for event in history)


def test_aborting_after_copying_needs_the_tenants_name(run: Run) -> None:
    start(run, "--wait", "--timeout", "20s")
    nobody_to_ask = run("migrate", "abort", "acme")
    assert nobody_to_ask.code == 2
    assert "--confirm acme" in nobody_to_ask.err
    wrong = run("migrate", "abort", "acme", "--confirm", "acne")
    assert wrong.code == 2
    assert run("migrate", "status", "acme", "--json").json["operation"]["desired"] == "run"
    right = run("migrate", "abort", "acme", "--confirm", "acme", "--wait", "--timeout", "20s", "--json")
    assert right.code == 0
    assert right.json["operation"]["state"] == "rolled_back"


def test_a_dry_run_of_abort_says_what_it_would_delete_and_changes_nothing(run: Run) -> None:
    start(run, "--wait", "--timeout", "20s")
    ran = run("migrate", "abort", "acme", "--dry-run", "--json")
    assert ran.code == 0
    assert "delete the tenant's rows in green" in ran.json["would"]
    assert any("flip writes back to blue" in effect for effect in ran.json["would"])
    assert run("migrate", "status", "acme", "--json").json["operation"]["desired"] == "run"


def test_completing_needs_the_tenants_name_and_a_flip(run: Run, service: ScriptedLifecycle) -> None:
    service.script.hold.clear()
    start(run)
    assert run("migrate", "complete", "acme", "--confirm", "acme").code == 5
    assert run("migrate", "rollback", "acme", "--yes").code == 5
    service.script.hold.set()
    assert run("migrate", "start", "other", "--to", "green", "--wait", "--timeout", "20s").code == 0
    assert run("migrate", "complete", "other").code == 2
    dry = run("migrate", "complete", "other", "--dry-run")
    assert dry.code == 0
    assert "no rollback after that" in dry.out


def test_an_operation_that_stands_ends_waiting_with_11_and_why_names_cause_and_cure(
    run: Run, service: ScriptedLifecycle
) -> None:
    service.script.broken = True
    ran = run("migrate", "start", "acme", "--to", "green", "--wait", "--timeout", "20s")
    assert ran.code == 11
    assert "permission denied" in run("op", "why", "acme").out
    assert "GRANT it" in run("op", "why", "acme").out
    listed = run("op", "list", "--needs-attention", "--json").json["operations"]
    assert [each["tenant"] for each in listed] == ["acme"]
    service.script.broken = False
    assert run("op", "retry", "acme").code == 0
    assert run("migrate", "rollback", "acme", "--yes").code in (0, 5)


def test_verify_ends_with_9_and_names_every_difference(run: Run, service: ScriptedLifecycle) -> None:
    assert run("verify", "acme", "--from", "blue", "--to", "green").code == 0
    service.differences = (DIFFERENCE,)
    ran = run("migrate", "verify", "acme")
    assert ran.code == 9
    assert "public.documents  7  different in title" in ran.out
    document = run("verify", "acme", "--json").json
    assert document["consistent"] is False
    assert document["differences"][0]["fields"] == ["title"]


def test_source_and_target_must_differ(run: Run) -> None:
    for line in (
        ("migrate", "plan", "acme", "--from", "blue", "--to", "blue"),
        ("verify", "acme", "--from", "blue", "--to", "blue"),
    ):
        ran = run(*line)
        assert ran.code == 2
        assert "must differ" in ran.err


def test_unknown_tenants_and_operations_end_with_3(run: Run) -> None:
    assert run("migrate", "plan", "nobody", "--to", "green").code == 3
    missing = run("op", "why", "op_0123456789", "--json")
    assert missing.code == 3
    assert missing.error["kind"] == "UnknownOperation"
    assert missing.out == ""


def test_tenants_are_listed_and_shown_with_what_is_done_to_them(run: Run) -> None:
    operation = start(run, "--wait", "--timeout", "20s")
    listed = run("tenant", "list", "--json").json["tenants"]
    assert [tenant["id"] for tenant in listed] == ["acme"]
    shown = run("tenant", "get", "acme", "--json").json
    assert shown["operation"]["id"] == operation
    assert operation in run("tenant", "get", "acme").out


def test_steps_and_migrations_are_listed(run: Run) -> None:
    start(run, "--wait", "--timeout", "20s")
    steps = run("op", "steps", "acme", "--json").json
    assert [step["key"] for step in steps["steps"]][:3] == ["arm", "feed", "copy"]
    assert "flip/1    done" in run("op", "steps", "acme").out
    assert len(run("migrate", "list", "--json").json["operations"]) == 1
    assert json.loads(run("op", "get", "acme", "-o", "json").out)["why"]
