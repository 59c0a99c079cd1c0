"""``tenantctl backup``: what is promised, in words and as JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scripted import Run, ScriptedLifecycle
from tenant_lifecycle import config
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.erasure.request import Exception17
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.wiring.caring import Caring
from tenant_lifecycle.wiring.repository import open_repository

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


CARE = """
backups:
  repository: {folder: here, key: {file: here.key}}
  mirror: {folder: there, key: {file: there.key}}
  tiers: {all: {like: platinum, keep: 1d, daily: 0, weekly: 0, monthly: 0, pitr: 1s, rpo: 1s, least_bases: 1, cold_after: }}
  default_tier: all
"""
ACME = TenantId("acme")


@pytest.fixture
def home(service: ScriptedLifecycle, lifecycle_file: Path, tmp_path: Path) -> Repository:
    """Two bases of acme, of which only the newer is wanted; copied."""
    for number, name in enumerate(("here.key", "there.key")):
        (tmp_path / name).write_text(bytes([number] * 32).hex())
        (tmp_path / name).chmod(0o600)
    lifecycle_file.write_text(lifecycle_file.read_text() + CARE)
    backups = config.load(lifecycle_file).backups
    service.installation = replace(service.installation, backups=backups)
    service.caring = Caring(service.installation, service.database)
    home = open_repository(backups)
    for body in (b"first", b"second"):
        base(home, body)
    assert service.caring.mirror().objects > 0
    return home


def base(home: Repository, body: bytes) -> None:
    writer = home.tenant(ACME).begin_base("blue", BaseKind.FULL, None, {})
    shape = opaque("bucket")
    stored: SetStored = writer.add("s3", shape, [Item("bucket", b"key", (body,))])
    assert stored.fingerprint != Fingerprint()
    writer.commit({"s3": StoreBase("s3", 1_000, 1, None, {"bucket": stored})}, 1_000, 1_000)


def test_a_whole_repository_ends_with_0_and_a_damaged_one_with_9_until_it_is_mended(
    run: Run, home: Repository, tmp_path: Path
) -> None:
    assert run("backup", "check", "--level", "L3").code == 0
    pack = next((tmp_path / "here").rglob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(bytes(data))
    ran = run("backup", "check")
    assert ran.code == 9
    assert pack.name in ran.out and "cannot be restored without it" in ran.out
    assert "tenantctl backup check --repair" in ran.err
    document = run("backup", "check", "--repair", "--json")
    assert document.code == 0
    assert "there" in document.json["damages"][0]["mended"]
    assert run("backup", "check", "--every", "24h", "--json").json["whole"] is True


def test_bases_are_listed_with_the_time_of_their_verification(run: Run, home: Repository) -> None:
    run("backup", "check", "--level", "L3")
    listed = run("backup", "list", "acme", "--json").json["bases"]
    assert [one["items"] for one in listed] == [{"s3/bucket": 1}] * 2
    assert all(one["verified_at"] for one in listed)
    assert listed[0]["id"] in run("backup", "list").out
    assert run("backup", "list", "nobody", "--json").json["bases"] == []


def test_pruning_is_shown_first_and_a_hold_stops_it(
    run: Run, home: Repository, service: ScriptedLifecycle
) -> None:
    shown = run("backup", "prune")
    assert shown.code == 0 and "no rule of its tier needs it any more" in shown.out
    assert "backup prune --yes" in shown.err
    assert len(home.tenant(ACME).manifests()) == 2 and not list(home.storage.names("care/"))
    service.erasures.place_hold("matter 1", Exception17.LEGAL_CLAIMS, ["acme"], actor="ann")
    held = run("backup", "prune", "--yes", "--json").json
    assert held["marked"] == 0 and "a legal hold" in held["tenants"][0]["refused"]


def test_pruning_marks_and_says_how_much(run: Run, home: Repository) -> None:
    done = run("backup", "prune", "--yes", "--json").json
    assert (done["marked"], done["deleted"]) == (1, 0)
    assert run("backup", "prune", "--yes").out.splitlines()[-1].startswith("0 newly marked")


def test_storage_by_tenant_and_the_lag_of_the_mirror(run: Run, home: Repository) -> None:
    found = run("backup", "storage", "--json").json
    assert found["tenants"][0]["tenant"] == "acme" and found["tenants"][0]["bases"] == 2
    assert found["lag"] == {"objects": 0, "bytes": 0, "seconds": 0.0}
    base(home, b"third")
    assert run("backup", "storage", "--json").json["lag"]["objects"] > 0
    assert run("backup", "mirror").code == 0
    assert run("backup", "storage", "--json").json["lag"]["objects"] == 0


def test_a_level_that_does_not_exist_is_a_mistake_of_usage(run: Run, home: Repository) -> None:
    assert run("backup", "check", "--level", "L9").code == 2


def test_without_a_repository_the_next_step_is_the_configuration(run: Run) -> None:
    ran = run("backup", "check")
    assert ran.code == 2 and "no section backups" in ran.err
