"""Before anything is moved: writing a configuration, looking at it, and asking what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripted import FINE, REFUSAL, WARNING, Run, ScriptedLifecycle
from tenant_lifecycle import config, ownership_file
from tenant_lifecycle.cli.starting import FILES, starter
from tenant_lifecycle.model.policy import MigrationPolicy

DSNS = {"BLUE_DSN": "postgresql://app:hunter2@blue/app", "GREEN_DSN": "host=green password=hunter2"}


def test_init_writes_files_that_are_valid_as_they_are(run: Run, tmp_path: Path) -> None:
    ran = run("init", "new/place", "--json")
    assert ran.code == 0
    assert ran.json["written"] == [f"new/place/{name}" for name in FILES]
    read = config.load(tmp_path / "new/place/lifecycle.yaml", environ=DSNS)
    assert list(read.environments) == ["blue", "green"]
    assert read.ownership_file == tmp_path / "new/place/ownership.yaml"
    assert ownership_file.load(read.ownership_file).root is not None


def test_what_init_writes_as_policies_are_the_defaults() -> None:
    read = config.loads(starter("lifecycle.yaml"), Path("lifecycle.yaml"), environ=DSNS)
    assert read.policy == MigrationPolicy()


def test_init_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/ownership.yaml").write_text("mine")
    ran = run("init", "here")
    assert ran.code == 2
    assert "is there already" in ran.err
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["ownership.yaml"]
    assert (tmp_path / "here/ownership.yaml").read_text() == "mine"


def test_doctor_says_how_to_mend_what_is_missing_and_ends_with_6(
    run: Run, service: ScriptedLifecycle
) -> None:
    service.findings = [FINE, WARNING]
    assert run("doctor").code == 0
    service.findings = [FINE, WARNING, REFUSAL]
    ran = run("doctor")
    assert ran.code == 6
    assert "refused  blue/postgres: wal_level is replica" in ran.out
    assert "mend: set wal_level = logical" in ran.out
    assert "3 checks: 1 refused, 1 warnings" in ran.out
    document = run("doctor", "--json")
    assert document.code == 6
    assert document.json["ok"] is False
    assert len(document.json["findings"]) == 3


def test_showing_the_configuration_shows_no_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dsn in DSNS.items():
        monkeypatch.setenv(name, dsn)
    for line in (("config", "show"), ("config", "show", "--json")):
        ran = run(*line)
        assert ran.code == 0, ran.err
        assert "hunter2" not in ran.out + ran.err
        assert "postgresql://app:***@blue/app" in ran.out


def test_a_mistake_in_the_configuration_names_file_line_and_the_nearest_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lifecycle.yaml").write_text("version: 1\nenvironmentz: {}\n")
    ran = run("config", "show")
    assert ran.code == 2
    assert (
        "lifecycle.yaml:2: environmentz: unknown key 'environmentz'; did you mean 'environments'?" in ran.err
    )


def test_version_is_the_packages(run: Run) -> None:
    from importlib.metadata import version

    assert run("version", "--json").json["version"] == version("tenant-lifecycle")
    assert run("version").out.startswith(f"tenantctl {version('tenant-lifecycle')} ")
