"""A repository folder with two tenants, for tests of the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.slot import SlotLog
from tenant_lifecycle.backups.log.stretch import Line
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.sealing import Sealer
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import KeyUnavailable
from tenant_lifecycle.model.backup.items import Delete, Frame, Upsert
from tenant_lifecycle.model.names import TenantId

SLOT = Line("postgres", environment="blue")
REPOSITORY = b"r" * 16
ACME = TenantId("acme")
#: Begins like the other, and is hostile.
ACME_2 = TenantId("acme'; DROP TABLE x; --/../*\n")


class Keys:
    """One data key, until it is shredded."""

    def __init__(self, key: bytes) -> None:
        self.key: bytes | None = key

    def current(self) -> int:
        return 1

    def data(self, epoch: int) -> bytes:
        if self.key is None or epoch != 1:
            raise KeyUnavailable(f"no key of epoch {epoch}", where="here")
        return self.key


@dataclass
class Rig:
    """Opens logs again and again, as processes do."""

    root: Path

    def __post_init__(self) -> None:
        self.storage = FolderStorage.create(self.root)
        self.keys = {tenant: Keys(tenant.encode().ljust(32, b"k")[:32]) for tenant in (ACME, ACME_2)}

    def log(self, tenant: TenantId = ACME) -> TenantLog:
        directory = Directory.of_tenant(b"name key", tenant)
        sealer = Sealer(self.keys[tenant], REPOSITORY, directory.tenant_hash)
        return TenantLog(self.storage, sealer, directory)

    def slot(self, storage: Storage | None = None) -> SlotLog:
        return self.slot_of(SLOT, storage)

    def slot_of(self, line: Line, storage: Storage | None = None) -> SlotLog:
        sealer = Sealer(Keys(b"o" * 32), REPOSITORY, bytes(32))
        return SlotLog(storage or self.storage, sealer, line, self.log)

    def by_directory(self, path: str) -> TenantLog:
        return next(log for log in map(self.log, self.keys) if log.directory.path == path)

    def files(self) -> list[Path]:
        return sorted(
            path for path in self.root.rglob("*") if path.is_file() and ".unfinished" not in path.parts
        )


def frame(position: int, at_us: int | None = None, key: bytes = b"1", value: bytes | None = b"v") -> Frame:
    """One row written; ``value`` None: deleted."""
    op = Delete("public.docs", key) if value is None else Upsert("public.docs", key, (key, value))
    return Frame(position, position * 10 if at_us is None else at_us, (op,), position + 7)
