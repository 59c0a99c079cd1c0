"""Archived into a real repository: any moment of the window is the tenant as it was then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from feed_sample import DOCS, MAP, SCHEMA, THEM, US

from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.moments.history import History
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.cli.window_text import window_lines
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, RestoreWindow, StoreBase
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive.following import LogArchiver, Source
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.stores.keyed import machine_us
from tenant_lifecycle.stores.postgres.archive import reader
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.store import PostgresStore
from tenant_lifecycle.wiring import archiver as archiver_wiring
from tenant_lifecycle.wiring.archiver import SlotLine


@dataclass
class Archived:
    """A database with two tenants, and a repository that has a base and the log of one of them."""

    repository: Repository
    store: PostgresStore
    dsn: str
    folder: Path

    def archiver(self, spool: str) -> LogArchiver:
        source = Source("postgres", "blue", "test", self.folder / spool, lambda: 0.1, self.store.tenants)
        line = SlotLine(self.repository, "blue", "postgres")
        return LogArchiver(source, self.store, line, Writers(self.store))

    def caught_up(self, archiver: LogArchiver) -> int:
        """Let it read everything until now; that moment."""
        until = self.store.now_us()
        while archiver.reach is None or archiver.reach.at_us < until:
            archiver.step()
        return until

    def window(self) -> RestoreWindow:
        return _history(self.repository, US).window()


@pytest.fixture
def archived(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Archived]:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(archiver_wiring, "SWEEP_S", 0.0)
    dsn = new_database(18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA + "ALTER TABLE indexed DROP CONSTRAINT indexed_pkey;")
        for tenant in (US, THEM):
            conn.execute("INSERT INTO tenants VALUES (%s, 'gold')", (tenant,))
            conn.execute(DOCS, {"t": tenant})
    repository = Repository.create(FolderStorage.create(tmp_path / "repo"), LocalWrapping(bytes(range(32))))
    store = PostgresStore(Database("blue/postgres", "blue", dsn, MAP))
    yield Archived(repository, store, dsn, tmp_path)
    store.close()


def _used(archived: Archived, archiver: LogArchiver) -> list[tuple[int, dict[str, set[Item]]]]:
    """Six moments, and what the tenant had at each."""
    moments = []
    with psycopg.connect(archived.dsn, autocommit=True) as conn:
        for n in range(6):
            conn.execute(
                "UPDATE docs SET n = n + 1, body = repeat('b', 3000 + n) WHERE n %% 3 = %s", (n % 3,)
            )
            conn.execute("INSERT INTO logs (tenant_id, line) VALUES (%s, 'l'), (%s, 'l')", (US, THEM))
            conn.execute("DELETE FROM docs WHERE n = %s", (n * 5,))
            conn.execute("INSERT INTO chats (tenant_id, title) VALUES (%s, 'c')", (US,))
            moments.append((archived.store.now_us(), _items(archived.store, US)))
            time.sleep(0.01)
            archiver.step()
    return moments


def test_any_moment_of_the_window_is_the_tenant_as_it_was(archived: Archived) -> None:
    archiver = archived.archiver("spool")
    archiver.step()
    _base(archived.repository, archived.store, US)
    moments = _used(archived, archiver)
    archived.caught_up(archiver)
    archiver.close()
    SlotLine(archived.repository, "blue", "postgres").tidy()
    history = _history(archived.repository, US)
    window = history.window()
    assert not window.gaps and len(window.intervals) == 1
    for at_us, items in moments:
        moment = history.at(at_us)
        for name, expected in items.items():
            found = list(moment.items("postgres", name))
            assert {(one.key, one.cells) for one in found} == {(one.key, one.cells) for one in expected}, name
    assert moments[0][1] != moments[-1][1]
    assert window_lines(window)[1] == f"[{'#' * 60}]"


def test_begun_anew_without_its_index_the_archive_says_so_in_the_window(archived: Archived) -> None:
    archiver = archived.archiver("spool")
    archiver.step()
    _base(archived.repository, archived.store, US)
    archived.caught_up(archiver)
    archiver.close()
    kept_us = archived.window().intervals[-1].to_us
    with psycopg.connect(archived.dsn, autocommit=True) as conn:
        conn.execute("UPDATE docs SET n = n + 1")
    again = archived.archiver("other")
    again.step()
    archived.caught_up(again)
    again.close()
    after = archived.window()
    assert after.intervals[-1].to_us == kept_us, (
        "changes after that are lost: nothing behind them is promised"
    )
    _base(archived.repository, archived.store, US)
    until = archived.caught_up(again)
    again.close()
    whole = archived.window()
    assert len(whole.intervals) == 2 and whole.intervals[1].to_us >= until
    (gap,) = whole.gaps
    assert gap.store == "postgres" and gap.from_us == kept_us
    assert "gap" in window_lines(whole)[3]


def _items(store: PostgresStore, tenant: str) -> dict[str, set[Item]]:
    with store.read_base(TenantId(tenant), lambda: None) as reading:
        return {name: set(reading.items(name)) for name in reading.shapes}


def _history(repository: Repository, tenant: str) -> History:
    part = repository.tenant(TenantId(tenant))
    log = TenantLog(part.place.storage, part.place.sealer, part.place.directory)
    return History(part, log, repository.slot, machine_us)


def _base(repository: Repository, store: PostgresStore, tenant: str) -> None:
    part = repository.tenant(TenantId(tenant))
    writer = part.begin_base("blue", BaseKind.FULL, None, {})
    with store.read_base(TenantId(tenant), lambda: None) as reading:
        sets = {
            name: writer.add("postgres", shape, reading.items(name)) for name, shape in reading.shapes.items()
        }
        assert reading.snapshot is not None
        base = StoreBase("postgres", reading.at_us, reading.snapshot.lsn, reading.snapshot, sets)
    writer.commit({"postgres": base}, machine_us(), None)
