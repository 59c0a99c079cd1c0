"""What ``tenantctl archiver`` and ``backup window`` show."""

from __future__ import annotations

import json

import pytest

from scripted import Run, ScriptedLifecycle
from tenant_lifecycle.cli.window_text import WIDTH, window_lines
from tenant_lifecycle.model.backup.manifest import Gap, Interval, RestoreWindow

WINDOW = RestoreWindow(
    (Interval(0, 3_000_000), Interval(6_000_000, 12_000_000)),
    (Gap(3_000_000, 6_000_000, "lost", "postgres"),),
)


def test_a_window_is_a_bar_with_its_gaps_below() -> None:
    lines = window_lines(WINDOW)
    assert lines[0] == "1970-01-01 00:00:00.000000Z  to  1970-01-01 00:00:12.000000Z"
    assert lines[1] == f"[{'#' * 15}{'.' * 15}{'#' * 30}]" and len(lines[1]) == WIDTH + 2
    assert [line.split()[0] for line in lines[2:]] == ["restorable", "gap", "restorable"]
    assert lines[3].endswith("postgres: lost")


def test_a_gap_shorter_than_a_mark_is_still_seen() -> None:
    window = RestoreWindow((Interval(0, 60_000_000), Interval(60_000_010, 120_000_000)), ())
    assert "+" in window_lines(window)[1]


def test_a_moment_alone_is_a_window() -> None:
    assert window_lines(RestoreWindow((Interval(5, 5),), ()))[1].count("#") == WIDTH


def test_no_window_says_what_to_do() -> None:
    assert "take a base" in window_lines(RestoreWindow((), ()))[0]


def test_the_window_as_a_document(
    run: Run, service: ScriptedLifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(service), "restore_window", lambda *_: WINDOW, raising=False)
    ran = run("backup", "window", "acme", "--json")
    document = json.loads(ran.out)
    assert ran.code == 0 and document["tenant"] == "acme"
    assert document["intervals"][1] == {"from_us": 6_000_000, "to_us": 12_000_000}
    assert document["gaps"][0]["why"] == "lost"


@pytest.mark.parametrize(
    ("running", "severity", "trouble", "code"),
    [
        (True, "warning", "", 0),
        (True, "refusal", "", 6),
        (True, "warning", "no answer", 6),
        (False, "warning", "", 6),
    ],
)
def test_the_exit_code_says_whether_somebody_has_to_look(
    run: Run, service: ScriptedLifecycle, monkeypatch: pytest.MonkeyPatch,
    running: bool, severity: str, trouble: str, code: int,
) -> None:  # fmt: skip
    finding = {
        "code": "archive.late",
        "severity": severity,
        "message": "late",
        "next_step": "look",
        "subject": "blue/postgres",
    }
    log = {"log": "blue/postgres", "complete_until_us": 1, "trouble": trouble, "findings": [finding]}
    document = {"running": running, "pid": 7, "at": 1.0, "logs": [log]}
    monkeypatch.setattr(type(service), "archiver_status", lambda _: document, raising=False)
    ran = run("archiver", "status")
    assert ran.code == code
    assert "blue/postgres: late; look" in ran.out and (trouble in ran.out)
