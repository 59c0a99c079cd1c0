"""A repository that an earlier version wrote is read, and is what the page says it is."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from backups.by_the_page import Tenant
from backups.fixtures.make_format_1 import TENANT
from backups.making import all_items
from tenant_lifecycle.backups.formatting import read_format
from tenant_lifecycle.backups.keys import LocalWrapping, canonical
from tenant_lifecycle.backups.manifests import RepositorySigner
from tenant_lifecycle.backups.packs import check_pack
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import RepositoryDamaged, RepositoryRejected
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.manifest import BaseKind
from tenant_lifecycle.model.backup.snapshot import Snapshot

FIXTURES = Path(__file__).parent / "fixtures"
#: Every format version that was ever written.
VERSIONS = ["format-1"]


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / "kept"))


def wrapping(kept: Path) -> bytes:
    return base64.b64decode((kept / "wrapping.key").read_text())


def as_kept(cell: bytes | None) -> object:
    return len(cell) if cell and not any(cell) else (cell and cell.hex()) or ("" if cell == b"" else None)


def test_a_repository_of_every_earlier_version_is_read(kept: Path) -> None:
    storage = FolderStorage(kept / "repository")
    part = Repository.open(storage, LocalWrapping(wrapping(kept))).tenant(TENANT)
    expected = json.loads((kept / "expected.json").read_text())
    full, delta = part.manifests()
    for manifest, name in ((full, "full"), (delta, "delta")):
        found = {
            set_name: [[one.key.hex(), one.at_us, [as_kept(cell) for cell in one.cells]] for one in items]
            for set_name, items in all_items(part, manifest).items()
        }
        assert {n: sorted(rows) for n, rows in expected[name].items()} == found
    assert (full.kind, delta.kind, delta.parent) == (BaseKind.FULL, BaseKind.DELTA, full.id)
    assert (full.labels, full.tier, full.expires_us, delta.timeline) == ({"label": "value"}, "gold", 30, 2)
    assert full.stores["postgres"].snapshot == Snapshot(100, 110, frozenset({103, 105}), 0x16B3748)
    stored = delta.stores["postgres"].sets["public.notes"]
    assert [one.name for one in stored.shape.columns if one.generated] == ["size"]
    assert stored.fingerprint == fingerprint(
        part.fingerprint_key(), part.items(delta, "postgres", "public.notes")
    )
    assert [one.tenant for one in Repository.open(storage, LocalWrapping(wrapping(kept))).tenants()] == [
        TENANT
    ]


def test_every_pack_of_an_earlier_version_is_in_order(kept: Path) -> None:
    storage = FolderStorage(kept / "repository")
    part = Repository.open(storage, LocalWrapping(wrapping(kept))).tenant(TENANT)
    names = [name for name, _, _ in storage.names("t/") if name.endswith(".pack")]
    found = {
        pack.sha256: pack
        for name in names
        for pack in [check_pack(part.place.sealer, part.place.keys, name, storage.get(name))]
    }
    assert len(found) == 2
    assert found == part.reader().index.packs


def test_an_earlier_repository_is_written_on(kept: Path) -> None:
    storage = FolderStorage(kept / "repository")
    part = Repository.open(storage, LocalWrapping(wrapping(kept))).tenant(TENANT)
    full, delta = part.manifests()
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    stores = {}
    for store, base in delta.stores.items():
        for name, one in base.sets.items():
            assert writer.add(store, one.shape, part.items(delta, store, name)).fingerprint == one.fingerprint
        stores[store] = base
    made = writer.commit(stores, 50, None)
    assert all_items(part, made) == all_items(part, delta)
    assert part.without_predecessor() == []
    assert full in part.manifests()


def test_the_page_is_enough_to_read_one(kept: Path) -> None:
    """With a reader that shares no line with ours: header, keys, blocks, padding, index, packs, rows, fingerprints."""
    by_page = Tenant(kept / "repository", wrapping(kept), TENANT)
    expected = json.loads((kept / "expected.json").read_text())
    manifests = by_page.manifests()
    for manifest, name in zip(manifests, ("full", "delta"), strict=True):
        for store, base in manifest["stores"].items():
            for one in base["sets"]:
                rows = by_page.rows(manifest, store, one["shape"]["set"])
                found = [[key.hex(), at_us, [as_kept(cell) for cell in cells]] for key, at_us, cells in rows]
                assert found == sorted(expected[name][one["shape"]["set"]])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"version": 2}, RepositoryRejected),
        ({"features": {"compat": [], "incompat": ["from the future"]}}, RepositoryRejected),
        ({"features": {"compat": ["only nicer"], "incompat": []}}, None),
        ({"public": "00" * 32}, RepositoryDamaged),
        ({"magic": "something else"}, RepositoryDamaged),
    ],
)
def test_a_format_that_is_not_known_is_refused(
    folder: FolderStorage, change: dict[str, object], error: type[Exception] | None
) -> None:
    signer = RepositorySigner(b"s" * 32)
    said: dict[str, object] = {
        "magic": "tenant-lifecycle repository", "version": 1, "repository": "00" * 16,
        "public": signer.public.hex(), "features": {"compat": [], "incompat": []}, **change,
    }  # fmt: skip
    folder.put("FORMAT", canonical({**said, "signature": signer.sign(canonical(said)).hex()}) + b"\n")
    if error is None:
        assert read_format(folder).repository == bytes(16)
    else:
        with pytest.raises(error):
            read_format(folder)
