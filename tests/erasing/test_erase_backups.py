"""An erasure of a tenant with backups, on a real server: the repository is one of its systems, and nothing restores it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

from test_erase_postgres import ACME, approved, drive, lifecycle, server

from tenant_lifecycle.backups.care.exclusion import excluded
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.catalog.certificates import Certificates
from tenant_lifecycle.errors import LifecycleError, NotRestorable
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, StoreBase
from tenant_lifecycle.model.backup.shape import opaque
from tenant_lifecycle.model.erasure.request import Ground
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.wiring import Lifecycle, find_installation
from tenant_lifecycle.wiring.backups import Wanted
from tenant_lifecycle.wiring.certifying import issued_bundle
from tenant_lifecycle.wiring.repository_system import regions_of

__all__ = ["lifecycle", "server"]

BACKUPS = """
backups:
  repository: {folder: here, key: {file: here.key}}
  mirror: {folder: there, key: {file: there.key}}
  default_tier: platinum
"""


def base(home: Repository, tenant: str) -> Manifest:
    writer = home.tenant(TenantId(tenant)).begin_base("blue", BaseKind.FULL, None, {})
    shape = opaque("bucket")
    stored = writer.add("s3", shape, [Item("bucket", b"key", (b"secret of " + tenant.encode(),))])
    return writer.commit({"s3": StoreBase("s3", 1_000, 1, None, {"bucket": stored})}, 1_000, None)


@pytest.fixture
def keeper(lifecycle: Lifecycle) -> Iterator[Lifecycle]:
    """The same installation with backups of the tenant and of the control, copied to a second region."""
    file = lifecycle.installation.file
    assert file is not None
    for number, name in enumerate(("here.key", "there.key")):
        (file.parent / name).write_text(bytes([number] * 32).hex())
        (file.parent / name).chmod(0o600)
    file.write_text(file.read_text() + BACKUPS)
    with Lifecycle(find_installation(file)) as keeper:
        for tenant in (ACME, "acme2"):
            base(regions_of(keeper.installation.backups)[0], tenant)
        keeper.caring.mirror()
        yield keeper


def test_the_backups_of_an_erased_tenant_are_gone_for_good_and_certified(keeper: Lifecycle) -> None:
    folder = keeper.installation.file.parent  # type: ignore[union-attr]
    shutil.copytree(folder / "here" / "t", folder / "stolen")
    home, _ = regions_of(keeper.installation.backups)
    (manifest,) = home.tenant(TenantId(ACME)).manifests()
    request_id = approved(keeper)
    operation = drive(keeper, keeper.erasures.start(request_id, actor="petra@desk").id)
    assert operation.state is State.SUCCEEDED, (operation.why, keeper.erasures.residuals(request_id))
    assert operation.result is not None and operation.result["overall"] == "COMPLETE"
    (backups,) = [one for one in operation.result["systems"] if one["system"] == "backups/repository"]
    assert backups["verdict"] == "VERIFIED"
    predicate = issued_bundle(Certificates(keeper.database).of_request(request_id)[-1]).predicate
    (system,) = [one for one in predicate.systems if one.system_id == "backups/repository"]
    assert system.method == "crypto_erase"
    (key,) = predicate.keys
    assert key.decrypt_probe is not None and (key.decrypt_probe.before, key.decrypt_probe.after) == (
        True,
        False,
    )
    assert key.copies_checked == ("repository", "mirror") and key.destroyed_at is not None
    assert predicate.backups.classes[0].purge_due == key.destroyed_at
    entry = excluded(home, TenantId(ACME))
    assert entry is not None and predicate.backups.exclusion_entry_digest == entry.digest
    assert not any(one.what == "backups" for one in predicate.out_of_scope)
    # Whoever kept the objects, keys and all, and brings them back, cannot open them: the marks are there.
    shutil.copytree(folder / "stolen", folder / "here" / "t", dirs_exist_ok=True)
    for one in regions_of(keeper.installation.backups):
        with pytest.raises(LifecycleError):
            list(one.tenant(TenantId(ACME)).items(manifest, "s3", "bucket"))
        assert len(one.tenant(TenantId("acme2")).manifests()) == 1


def test_a_restore_does_not_bring_an_erased_tenant_back(keeper: Lifecycle) -> None:
    """saas-factory-labs/Saas-Factory#203: a restore resurrected tenants. Even where every key is back and every mark is
    gone: a copy of the whole folder from before the erasure."""
    folder = keeper.installation.file.parent  # type: ignore[union-attr]
    shutil.copytree(folder / "here" / "t", folder / "stolen")
    home, _ = regions_of(keeper.installation.backups)
    (manifest,) = home.tenant(TenantId(ACME)).manifests()
    request_id = approved(keeper)
    assert drive(keeper, keeper.erasures.start(request_id, actor="petra@desk").id).state is State.SUCCEEDED
    shutil.rmtree(folder / "here" / "t")
    shutil.copytree(folder / "stolen", folder / "here" / "t")
    part = regions_of(keeper.installation.backups)[0].tenant(TenantId(ACME))
    assert len(part.manifests()) == 1, "they can be read again, or this test would prove nothing"
    with pytest.raises(NotRestorable, match="was erased by"):
        keeper.backups.plan_restore(Wanted(TenantId(ACME), manifest.id, environment="blue"))


def test_without_a_backup_of_the_control_an_erasure_is_refused_before_anything_goes(
    keeper: Lifecycle,
) -> None:
    for region in ("here", "there"):
        home = regions_of(keeper.installation.backups)[0]
        shutil.rmtree(keeper.installation.file.parent / region / home.directory(TenantId("acme2")).path)  # type: ignore[union-attr]
    request = keeper.erasures.request(ACME, Ground.CONTRACT_END, actor="petra@desk")
    (refused,) = keeper.erasures.plan(request.id, actor="petra@desk").refusals
    assert refused.code == "backups.no-control" and refused.next_step == "tenantctl backup create acme2"
