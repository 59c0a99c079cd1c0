"""Every error leaves with its own exit code and says what to do next."""

from __future__ import annotations

import pytest

from scripted import Run, ScriptedLifecycle
from tenant_lifecycle import errors
from tenant_lifecycle.cli import main
from tenant_lifecycle.cli.exit_codes import ERRORS, MEANINGS, OUTCOMES, ExitCode, code_of
from tenant_lifecycle.model.operation import State


def classes() -> set[type[errors.LifecycleError]]:
    return {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.LifecycleError)
    }


def test_every_error_class_has_an_exit_code() -> None:
    assert set(ERRORS) == classes()


def test_every_state_and_every_code_is_explained() -> None:
    assert set(OUTCOMES) == set(State)
    assert set(MEANINGS) == set(ExitCode)


def test_no_error_ends_as_success() -> None:
    assert ExitCode.OK not in ERRORS.values()


def test_a_class_of_a_plug_in_has_its_ancestors_code() -> None:
    class Throttled(errors.StoreBusy):
        pass

    assert code_of(Throttled) is ERRORS[errors.StoreBusy]


def test_an_error_says_what_happened_and_what_to_do_next(run: Run, service: ScriptedLifecycle) -> None:
    ran = run("migrate", "plan", "nobody", "--to", "green")
    assert ran.err.splitlines() == [
        "error: no environment holds tenant 'nobody'",
        "Next: tenantctl tenant list",
    ]
    assert ran.out == ""


def test_as_json_an_error_is_one_object_on_stderr(run: Run) -> None:
    ran = run("migrate", "plan", "nobody", "--to", "green", "-o", "json")
    assert ran.out == ""
    assert ran.error == {
        "kind": "UnknownTenant",
        "message": "no environment holds tenant 'nobody'",
        "next_step": "tenantctl tenant list",
        "exit_code": 3,
        "retryable": False,
        "findings": [],
    }


@pytest.mark.parametrize(
    "line",
    [
        ("migrate", "plan"),
        ("migrate", "plan", "acme"),
        ("migrate", "start", "acme", "--to", "green", "--timeout", "5"),
        ("migrate", "start", "acme", "--to", "green", "--workers", "17"),
        ("op", "list", "--state", "asleep"),
        ("no-such-command",),
        ("op", "--no-such-option"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_names_the_help(run: Run, line: tuple[str, ...]) -> None:
    text = run(*line)
    assert text.code == 2
    assert text.err.startswith("error: ")
    assert "Next: tenantctl" in text.err and "--help" in text.err
    json = run(*line, "--json")
    assert json.code == 2
    assert json.error["kind"] == "UsageError"


def test_an_error_nobody_thought_of_is_reported_and_not_a_traceback(
    run: Run, service: ScriptedLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode() -> None:
        raise ZeroDivisionError("password=hunter2")

    monkeypatch.setattr(service, "doctor", explode)
    ran = run("doctor")
    assert ran.code == 1
    assert "unexpected ZeroDivisionError" in ran.err
    assert "Traceback" not in ran.err
    assert "hunter2" not in ran.err


def test_no_configuration_is_a_usage_error_that_names_init(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("TENANT_LIFECYCLE_CONFIG", raising=False)
    assert main(["op", "list"]) == 2
    assert "tenantctl init" in capsys.readouterr().err


def test_a_servers_many_lines_become_one(
    run: Run, service: ScriptedLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise errors.StoreUnavailable("blue/postgres: refused\n\tIs it running?", store="blue/postgres")

    monkeypatch.setattr(service, "tenants", refuse)
    ran = run("tenant", "list")
    assert (ran.code, ran.err) == (12, "error: blue/postgres: refused Is it running?\n")
