"""``tenantctl backup``: what is promised, in words and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripted import Run

BACKUPS = """
backups:
  repository: {s3: s3://copies/tl, access_key: me, secret_key: hunter2, key: {environment: BACKUP_KEY}}
  tiers: {silver: {like: gold, rpo: 45s}}
"""


@pytest.fixture
def lifecycle_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BLUE_DSN", "GREEN_DSN"):
        monkeypatch.setenv(name, "host=nowhere")
    return tmp_path / "lifecycle.yaml"


def test_the_promises_of_every_tier_and_no_secret(run: Run, lifecycle_file: Path) -> None:
    lifecycle_file.write_text(lifecycle_file.read_text() + BACKUPS)
    text, document = run("backup", "policies"), run("backup", "policies", "--json")
    assert "s3://copies/tl" in text.out and "mirror        none" in text.out
    assert document.json["tiers"]["silver"]["rpo_s"] == 45.0
    assert document.json["tiers"]["platinum"]["cross_region"] is True
    for ran in (text, document):
        assert ran.code == 0
        assert "hunter2" not in ran.out + ran.err


def test_without_the_section_it_says_that_there_are_no_backups(run: Run, lifecycle_file: Path) -> None:
    assert "repository    none" in run("backup", "policies").out
