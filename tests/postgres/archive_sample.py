"""An archive of the sample schema, and the plain meaning of its frames: what every tenant's items are after them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Cell,
    Delete,
    Frame,
    Reshape,
    Truncate,
    Unknown,
    Upsert,
)
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.archive import slot
from tenant_lifecycle.stores.postgres.archive.reader import PostgresArchive
from tenant_lifecycle.stores.postgres.backup.base import read_base
from tenant_lifecycle.stores.postgres.database import Database

Items = dict[tuple[str, bytes], tuple[Cell, ...]]


@dataclass
class Folded:
    """One tenant: a base, and the frames since."""

    items: Items
    columns: dict[str, tuple[str, ...]]
    sees: Callable[[int], bool]
    unknown: set[tuple[str, bytes]] = field(default_factory=set)
    last: int = 0

    def apply(self, frame: Frame) -> None:
        if frame.position <= self.last:
            return  # again, after a restart
        self.last = frame.position
        assert frame.xid is not None
        if self.sees(frame.xid):
            return
        for op in frame.ops:
            match op:
                case Upsert(name, key, cells, old_key):
                    before = self.items.pop((name, old_key or key), None)
                    whole = [before[i] if cell is UNCHANGED else cell for i, cell in enumerate(cells)]  # type: ignore[index]
                    self.items[name, key] = tuple(whole)  # type: ignore[arg-type]
                    self.unknown.discard((name, key))
                case Delete(name, key):
                    self.unknown.discard((name, key))
                    self.items.pop((name, key), None)
                case Truncate(name):
                    self.items = {at: cells for at, cells in self.items.items() if at[0] != name}
                case Unknown(name, key):
                    self.unknown.add((name, key))
                case Reshape():
                    self._reshape(op)

    def _reshape(self, op: Reshape) -> None:
        old = self.columns[op.shape.set]
        carried, filled = dict(op.carried), dict(op.filled)
        names = tuple(column.name for column in op.shape.columns)
        self.columns[op.shape.set] = names
        for at, cells in list(self.items.items()):
            if at[0] == op.shape.set:
                had = dict(zip(old, cells, strict=True))
                self.items[at] = tuple(
                    filled[n] if n in filled else had.get(carried.get(n, n), b"?") for n in names
                )


@dataclass
class Archiving:
    """A database, its archive, and a folded state for each tenant."""

    database: Database
    spool: Path
    name: str = "test"
    folded: dict[str, Folded] = field(default_factory=dict)
    archive: PostgresArchive | None = None

    def open(self) -> PostgresArchive:
        slot.create(self.database, self.name)
        self.archive = PostgresArchive(self.database, self.name, self.spool)
        return self.archive

    def base(self, *tenants: str) -> None:
        for tenant in tenants:
            with read_base(self.database, TenantId(tenant), lambda: None) as reading:
                items = {
                    (one.set, one.key): one.cells for name in reading.shapes for one in reading.items(name)
                }
                columns = {
                    name: tuple(c.name for c in shape.columns) for name, shape in reading.shapes.items()
                }
                assert reading.snapshot is not None
                self.folded[tenant] = Folded(items, columns, reading.snapshot.sees)

    def pump(self, *, confirm: bool = True, timeout_s: float = 60.0) -> None:
        """Read until everything committed before this call has come."""
        assert self.archive is not None
        with psycopg.connect(self.database.dsn) as conn:
            (now_us,) = conn.execute(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::int8"
            ).fetchone() or (0,)
        deadline = time.monotonic() + timeout_s
        while self.archive.complete_us <= now_us:
            assert time.monotonic() < deadline, "it does not come"
            self.take(confirm=confirm)

    def take(self, *, confirm: bool = True) -> int:
        assert self.archive is not None
        arrived = self.archive.read(0.2)
        for tenant, frame in arrived.frames:
            if tenant in self.folded:
                self.folded[tenant].apply(frame)
        if confirm:
            self.archive.confirm(arrived.position)
        return len(arrived.frames)

    def equal(self) -> None:
        """Every tenant's folded items are those of a base taken now."""
        for tenant, state in self.folded.items():
            with read_base(self.database, TenantId(tenant), lambda: None) as reading:
                for name in reading.shapes:
                    now = {one.key: one.cells for one in reading.items(name)}
                    mine = {key: cells for (of, key), cells in state.items.items() if of == name}
                    loose = {key for of, key in state.unknown if of == name}
                    assert {k: v for k, v in mine.items() if k not in loose} == {
                        k: v for k, v in now.items() if k not in loose
                    }, (tenant, name)


@contextmanager
def writing(database: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(database.dsn, autocommit=True) as conn:
        yield conn
