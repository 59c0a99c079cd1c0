"""Items too big for memory lie in the repository with their parts, and only the items themselves are counted."""

from __future__ import annotations

import os

from backups.conftest import WRAPPING
from backups.making import NOTES, OBJECTS, all_items, full_base, in_order
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.parts import PART_BYTES, is_part, items_of
from tenant_lifecycle.model.names import TenantId


def test_a_big_item_comes_back_with_its_parts_and_counts_once(folder: FolderStorage) -> None:
    part = Repository.create(folder, WRAPPING).tenant(TenantId("big"))
    content = os.urandom(PART_BYTES) + b"the end"
    items = list(items_of(OBJECTS.set, b"big", b"header", [content], 5))
    manifest = full_base(part, {NOTES.set: [], OBJECTS.set: items})
    stored = manifest.stores["s3"].sets[OBJECTS.set].fingerprint
    assert len(items) == 3 and stored.items == 1
    assert stored == fingerprint(part.fingerprint_key(), [one for one in items if not is_part(one.key)])
    assert all_items(part, manifest)[OBJECTS.set] == in_order(items)
