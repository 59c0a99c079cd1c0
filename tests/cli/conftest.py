"""``run("migrate", "list")`` runs one command line against the scripted services of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripted import Ran, Run, ScriptedLifecycle
from tenant_lifecycle.cli import main
from tenant_lifecycle.cli.starting import starter


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedLifecycle]:
    """The services, and a folder with a configuration as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENANT_LIFECYCLE_CONFIG", raising=False)
    (tmp_path / "lifecycle.yaml").write_text(starter("lifecycle.yaml"))
    opened = ScriptedLifecycle(tmp_path)
    yield opened
    opened.script.hold.set()
    opened.really_close()


@pytest.fixture
def run(service: ScriptedLifecycle, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_line(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments, opener=lambda _path: service)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run_line
