"""Bases, the archiver and the repository together: any moment under load is what the tables were, row for row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
import pytest
from archive_process import archiver
from feed_sample import DOCS, MAP, SCHEMA
from test_archive_oracle import TENANTS, Load

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.log.stretch import Line, Stretch
from tenant_lifecycle.backups.moments.synthetic import write_delta
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.backup.items import Frame, Item
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive.line import Broken
from tenant_lifecycle.operations.backup.taking import Order, take_full
from tenant_lifecycle.stores.postgres.archive import reader
from tenant_lifecycle.stores.postgres.backup.base import read_base
from tenant_lifecycle.stores.postgres.database import Database

WRAPPING = LocalWrapping(bytes(range(32)))


LINE = Line("postgres", environment="blue")


class SlotLine:
    """What the archiver writes to, over the repository."""

    def __init__(self, repository: Repository) -> None:
        self._slot = repository.slot(LINE)

    def through(self) -> Covered | None:
        head = self._slot.head()
        return None if head is None else head.stretch.covered(head.line, 0)

    def flush(self, frames: Mapping[TenantId, Sequence[Frame]], covered: Covered, broken: Broken) -> None:
        self._slot.flush(frames, Stretch.of(covered), broken)


class Backing:
    """Of a store only that it can be read whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_base(self, tenant: TenantId, check: Callable[[], None]) -> object:
        return read_base(self._database, tenant, check)


@pytest.fixture
def dsn(new_database: Callable[..., str]) -> str:
    made = new_database(16)
    with psycopg.connect(made, autocommit=True) as conn:
        conn.execute(SCHEMA + "ALTER TABLE indexed DROP CONSTRAINT indexed_pkey;")
        for tenant in TENANTS:
            conn.execute("INSERT INTO tenants VALUES (%s, 'gold')", (tenant,))
            conn.execute(DOCS, {"t": tenant})
    return made


def _now_us(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::int8").fetchone()
    assert row is not None
    return int(row[0])


def _truth(database: Database, tenant: str) -> dict[str, list[Item]]:
    with read_base(database, TenantId(tenant), lambda: None) as reading:
        return {name: sorted(reading.items(name), key=lambda item: item.key) for name in reading.shapes}


def test_moments_under_load_are_what_the_tables_were(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HEARTBEAT_S", 0.05)
    repository = Repository.create(FolderStorage.create(tmp_path / "repository"), WRAPPING)
    database = Database("blue/postgres", "blue", dsn, MAP)
    last, _ = archiver(dsn, tmp_path / "spool", SlotLine(repository))
    truths: list[tuple[int, str, dict[str, list[Item]]]] = []
    _until_complete(last, _now_us(dsn))
    for round_ in range(5):
        load = Load(dsn)
        if round_ in (0, 3):
            for tenant in TENANTS:
                stores = {"postgres": Backing(database)}
                take_full(
                    repository.tenant(TenantId(tenant)),
                    stores,
                    Order("blue", {}),
                    lambda: None,
                    lambda _: None,
                )  # type: ignore[arg-type]
        _archive_for(last, 0.4)
        load.stop()
        at_us = _now_us(dsn)
        truths += [(at_us, tenant, _truth(database, tenant)) for tenant in TENANTS]
        _until_complete(last, at_us)
        if round_ == 2:
            assert repository.slot(LINE).compact(repository.log_in) > 1
    last.close()
    exact = sum(_is_exact(repository, *truth) for truth in truths)
    assert exact >= len(truths) // 2


def _archive_for(last, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        last.step()


def _until_complete(last, at_us: int) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while last.reach is None or last.reach.at_us <= at_us:
        assert time.monotonic() < deadline
        last.step()


def _is_exact(repository: Repository, at_us: int, tenant: str, truth: dict[str, list[Item]]) -> bool:
    """False: the window says that this moment is not; it may never be another one."""
    backups = repository.tenant(TenantId(tenant))
    try:
        moment = backups.moment(at_us)
    except NotRestorable as exc:
        assert "not seen" in str(exc), exc
        return False
    key = backups.fingerprint_key()
    fingerprints = moment.fingerprints("postgres")
    for name, items in truth.items():
        assert list(moment.items("postgres", name)) == items, (tenant, name)
        assert fingerprints[name] == fingerprint(key, items)
    write_delta(backups, moment, at_us, None, {})  # type: ignore[arg-type]
    assert list(backups.moment(at_us).items("postgres", "public.docs")) == truth["public.docs"]
    return True
