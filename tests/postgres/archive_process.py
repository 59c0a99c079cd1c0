"""An archiver in a process of its own, to be killed: ``archive_process.py DSN SPOOL LINE``."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from feed_sample import MAP

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive.following import LogArchiver, Source
from tenant_lifecycle.operations.archive.line import Broken
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.stores.postgres.archive import reader
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore

Flushed = tuple[Mapping[TenantId, Sequence[Frame]], Covered, Broken]


class FileLine:
    """A line whose flushes are files: whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def flushed(self) -> list[Flushed]:
        return [pickle.loads(path.read_bytes()) for path in sorted(self.folder.glob("*.flush"))]

    def through(self) -> Covered | None:
        newest = self.flushed()[-1:]
        return newest[0][1] if newest else None

    def flush(self, frames: Mapping[TenantId, Sequence[Frame]], covered: Covered, broken: Broken) -> None:
        number = len(list(self.folder.glob("*.flush")))
        new = self.folder / "new"
        new.write_bytes(pickle.dumps((dict(frames), covered, dict(broken))))
        new.replace(self.folder / f"{number:06d}.flush")


def archiver(dsn: str, spool: Path, line: FileLine, rpo_s: float = 0.2) -> tuple[LogArchiver, PostgresStore]:
    store = PostgresStore(Database("blue/postgres", "blue", dsn, MAP))
    source = Source("postgres", "blue", "test", spool, lambda: rpo_s, store.tenants)
    return LogArchiver(source, store, line, Writers(store)), store


if __name__ == "__main__":
    reader.HEARTBEAT_S = 0.05
    one, _ = archiver(sys.argv[1], Path(sys.argv[2]), FileLine(Path(sys.argv[3])))
    while True:
        one.step()
