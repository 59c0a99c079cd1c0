"""The ten functions offline: they check what they are given, say what they would do, and touch nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import l3_m14_tenant_lifecycle as facade
from tenant_lifecycle.errors import LifecycleError, NotAvailable, PreconditionRefused

SEVEN = ["postgresql", "redis", "pinecone", "s3", "cloudwatch", "backups", "analytics"]
VERIFICATION: dict[str, Any] = {"complete": True, "systems_checked": SEVEN}

#: Every operation with everything the specification passes to it.
OPERATIONS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "migrate": lambda offline: facade.migrate_tenant_blue_green(
        tenant_id="t1", source_env="blue", target_env="green", offline=offline
    ),
    "erase": lambda offline: facade.execute_gdpr_deletion(tenant_id="t1", request_id="r1", offline=offline),
    "backup": lambda offline: facade.create_tenant_backup(
        tenant_id="t1", retention_days=365, cross_region=True, offline=offline
    ),
    "restore": lambda offline: facade.restore_tenant_backup(
        backup_id="b1", tenant_id="t1", point_in_time=datetime.now() - timedelta(hours=24), offline=offline
    ),
    "clone": lambda offline: facade.clone_tenant(
        source_tenant_id="t0", target_tenant_id="t1", anonymize_data=True,
        selective_sync=["documents", "embeddings", "configs"], offline=offline,
    ),
    "rollback": lambda offline: facade.rollback_migration(
        tenant_id="t1", rollback_snapshot="b0", offline=offline
    ),
}  # fmt: skip
NOT_YET: dict[str, Callable[[], object]] = {
    **{name: (lambda call=OPERATIONS[name]: call(False)) for name in ("erase", "backup", "restore", "clone")},
    "verify erasure": lambda: facade.verify_gdpr_deletion("t1", SEVEN),
    "certificate": lambda: facade.generate_deletion_certificate("t1", "r1", VERIFICATION),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_skipped_and_says_what_it_would_do(name: str) -> None:
    result = OPERATIONS[name](True)
    assert result["skipped"] is True
    assert result["reason"] == "offline mode"
    assert result["tenant_id"] == "t1"
    assert result["status"] == "skipped"
    assert len(result["plan"]) >= 3
    assert json.loads(json.dumps(result)) == result


def test_a_migration_names_both_sides_in_its_plan() -> None:
    plan = " ".join(OPERATIONS["migrate"](True)["plan"])
    assert "make green the writer" in plan
    assert "empty blue" in plan
    assert "{" not in plan


def test_a_verification_has_its_full_shape_and_says_that_it_is_no_evidence() -> None:
    result = facade.verify_gdpr_deletion(tenant_id="t1", systems=SEVEN, offline=True)
    assert result["complete"] is True
    assert result["systems_checked"] == SEVEN
    assert result["system_status"] == dict.fromkeys(SEVEN, True)
    assert result["remaining_data"] == []
    assert "nothing was contacted" in result["note"]


def test_a_comparison_has_its_full_shape_and_says_that_it_is_no_evidence() -> None:
    result = facade.verify_data_consistency(
        tenant_id="t1", source_env="blue", target_env="green", offline=True
    )
    assert result["consistent"] is True
    assert result["differences"] == []
    assert "postgresql" in result["systems_checked"]
    assert "nothing was contacted" in result["note"]


def test_a_certificate_is_marked_as_a_simulation_and_signed_over_all_it_says() -> None:
    verification = facade.verify_gdpr_deletion("t1", SEVEN, offline=True)
    one, two = (
        facade.generate_deletion_certificate(
            tenant_id="t1", request_id=request, verification=verification, offline=True
        )
        for request in ("r1", "r2")
    )
    assert one["simulation"] is True
    assert "nothing was contacted" in one["note"]
    assert one["systems_verified"] == SEVEN
    for certificate in (one, two):
        assert re.fullmatch("[0-9a-f]{64}", certificate["signature"])
    assert one["signature"] != two["signature"]
    assert one["certificate_id"] != two["certificate_id"]


@pytest.mark.parametrize("verification", [{}, {"complete": False, "remaining_data": ["s3"]}, {"complete": 1}])
def test_nothing_incomplete_is_certified(verification: dict[str, Any]) -> None:
    with pytest.raises(PreconditionRefused, match="not complete"):
        facade.generate_deletion_certificate("t1", "r1", verification, offline=True)


def test_a_certificate_needs_the_tenants_own_verification() -> None:
    verification = facade.verify_gdpr_deletion("t2", SEVEN, offline=True)
    with pytest.raises(ValueError, match="of 't2', not of 't1'"):
        facade.generate_deletion_certificate("t1", "r1", verification, offline=True)


def test_what_nobody_looked_at_is_never_complete() -> None:
    with pytest.raises(ValueError, match="at least one system"):
        facade.verify_gdpr_deletion("t1", [], offline=True)


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda offline: facade.migrate_tenant_blue_green("t1", "blue", "blue", offline=offline),
        lambda offline: facade.verify_data_consistency("t1", "blue", "blue", offline=offline),
        lambda offline: facade.clone_tenant("t1", "t1", offline=offline),
    ],
)
def test_the_same_place_twice_is_refused(call: Callable[[bool], object], offline: bool) -> None:
    with pytest.raises(ValueError, match="source and target must differ"):
        call(offline)


@pytest.mark.parametrize(
    "call",
    [
        lambda: facade.migrate_tenant_blue_green("", "blue", "green", offline=True),
        lambda: facade.migrate_tenant_blue_green("t1", "blue", "", offline=True),
        lambda: facade.execute_gdpr_deletion("t1", "", offline=True),
        lambda: facade.create_tenant_backup("t1", retention_days=0, offline=True),
        lambda: facade.restore_tenant_backup("b1", "t1", datetime.now() + timedelta(days=1), offline=True),
        lambda: facade.clone_tenant("t1", "t2", selective_sync=["passwords"], offline=True),
        lambda: facade.clone_tenant("t1", "t2", selective_sync=[], offline=True),
        lambda: facade.rollback_migration("", offline=True),
        lambda: facade.verify_gdpr_deletion("t1", "redis", offline=True),
    ],
)
def test_bad_arguments_are_refused_offline_too(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("name", NOT_YET)
def test_what_this_version_cannot_do_is_refused_and_not_pretended(name: str) -> None:
    with pytest.raises(NotAvailable, match="not available in this version; nothing was changed") as caught:
        NOT_YET[name]()
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["migrate", "rollback"])
def test_online_without_a_configuration_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENANT_LIFECYCLE_CONFIG", raising=False)
    with pytest.raises(LifecycleError, match="there is no such file"):
        OPERATIONS[name](False)
    assert list(tmp_path.iterdir()) == []


def test_offline_imports_no_driver_and_opens_no_file_or_socket(tmp_path: Path) -> None:
    program = """
import sys
opened = []
sys.addaudithook(lambda name, args: opened.append((name, args)) if watching and name in (
    "socket.connect", "subprocess.Popen", "os.system", "os.mkdir", "sqlite3.connect") or (
    watching and name == "open" and args[1] not in ("r", "rb", None)) else None)
watching = False
from datetime import datetime
import l3_m14_tenant_lifecycle as f
watching = True
f.migrate_tenant_blue_green("t", "blue", "green", offline=True)
v = f.verify_gdpr_deletion("t", offline=True)
f.generate_deletion_certificate("t", "r", v, offline=True)
f.execute_gdpr_deletion("t", "r", offline=True)
f.create_tenant_backup("t", offline=True)
f.restore_tenant_backup("b", "t", datetime(2020, 1, 1), offline=True)
f.clone_tenant("t", "u", offline=True)
f.verify_data_consistency("t", "blue", "green", offline=True)
f.rollback_migration("t", offline=True)
watching = False
drivers = {"psycopg", "sqlalchemy", "typer", "rich", "redis", "boto3", "ruamel"}
print(opened, sorted(drivers & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ
    )  # fmt: skip
    assert done.stdout == "[] []\n"
    assert list(tmp_path.iterdir()) == []


def test_all_names_are_public() -> None:
    assert sorted(facade.__all__) == facade.__all__
    for name in facade.__all__:
        assert getattr(facade, name) is not None
