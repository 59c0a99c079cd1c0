"""A store and a repository as small as they can be, in SQLite files, so that what a killed process did is still there.

The cupboard is a judge too: its fence has a ticket and a deadline, and refuses writers as the real one does. Its items
belong to an owner; a preview is a pile beside them. The repository keeps bases whole and knows no log.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenant_lifecycle.backups.contract import Moment
from tenant_lifecycle.errors import (
    Fenced,
    NotRestorable,
    StoreUnavailable,
    TenantInMaintenance,
    TenantMoved,
    WrongState,
)
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import (
    BaseKind,
    Interval,
    Manifest,
    RestoreWindow,
    SetStored,
    StoreBase,
)
from tenant_lifecycle.model.backup.shape import Shape, opaque
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.backing import BaseReading, SetDiff, Writing
from tenant_lifecycle.stores.base import Check, FenceRow, FenceState

KEY = b"k" * 32
SETS = ("documents", "messages")


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        yield db


class Cupboard:
    """The file, and the application that writes to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with opened(file) as db:
            db.executescript(
                "CREATE TABLE IF NOT EXISTS item(owner, place, key, value, PRIMARY KEY(owner, place, key));"
                "CREATE TABLE IF NOT EXISTS pile(name, place, key, value, PRIMARY KEY(name, place, key));"
                "CREATE TABLE IF NOT EXISTS piles(name PRIMARY KEY);"
                "CREATE TABLE IF NOT EXISTS seen(owner PRIMARY KEY, token);"
                "CREATE TABLE IF NOT EXISTS fault(name PRIMARY KEY, value);"
                "CREATE TABLE IF NOT EXISTS fence(owner PRIMARY KEY, epoch, state, target, ticket, deadline);"
            )

    def write(self, owner: str, key: str, value: str | None, place: str = "documents") -> None:
        """As the application does: refused while writes are held."""
        with opened(self.file) as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT state, deadline, epoch FROM fence WHERE owner = ?", (owner,)).fetchone()
            if row and row[0] == "FENCED" and row[1] > time.time():
                raise TenantInMaintenance("held", epoch=row[2], until="soon")
            if row and row[0] == "MOVED":
                raise TenantMoved("moved", epoch=row[2], target="")
            if value is None:
                db.execute("DELETE FROM item WHERE owner = ? AND place = ? AND key = ?", (owner, place, key))
            else:
                db.execute("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?)", (owner, place, key, value))
            db.execute("COMMIT")

    def items(self, owner: str) -> dict[tuple[str, str], str]:
        with opened(self.file) as db:
            rows = db.execute("SELECT place, key, value FROM item WHERE owner = ? ORDER BY 1, 2", (owner,))
            return {(place, key): value for place, key, value in rows}

    def fault(self, name: str, value: Any = 1) -> None:
        """``promotions that fail``, ``bends what it loads``, ``lacks a column``, ``slow`` (seconds)."""
        with opened(self.file) as db:
            db.execute("INSERT OR REPLACE INTO fault VALUES (?, ?)", (name, json.dumps(value)))

    def faults(self) -> Mapping[str, Any]:
        with opened(self.file) as db:
            return {name: json.loads(value) for name, value in db.execute("SELECT * FROM fault")}


@dataclass
class CupboardStore:
    """A `Cupboard` as a store that is backed up, restored to and, if it is the judge, fenced."""

    cupboard: Cupboard
    name: str
    kind: str = "cupboard"
    environment: str = "blue"

    def probe(self) -> list[Finding]:
        return []

    def tenants(self) -> list[TenantId]:
        with self._open() as db:
            return [TenantId(row[0]) for row in db.execute("SELECT DISTINCT owner FROM item ORDER BY 1")]

    def holds(self, tenant: TenantId) -> bool:
        return tenant in self.tenants()

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self.cupboard.file)

    # -- Backs

    @contextmanager
    def read_base(self, tenant: TenantId, check: Check) -> Iterator[BaseReading]:
        check()
        yield _Reading(self.cupboard.items(tenant))

    # -- Previews

    def check_restore(
        self, tenant: TenantId, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> list[Finding]:
        if self.cupboard.faults().get("lacks a column"):
            message = f"{self.name}: documents has no column colour, which the backup has"
            return [Finding("cupboard.column-mismatch", Severity.REFUSAL, message, subject=self.name)]
        return []

    def open_preview(
        self, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
    ) -> Pile:
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO piles VALUES (?)", (name,))
        return Pile(self, name, tenant)

    def previews(self) -> list[str]:
        with self._open() as db:
            return [row[0] for row in db.execute("SELECT name FROM piles")]


class Fencing(CupboardStore):
    """A cupboard that judges who may write."""

    # -- Fences

    def arm(self, tenant: TenantId, state: FenceState, epoch: int, target: str | None) -> FenceRow:
        with self._open() as db:
            db.execute(
                "INSERT OR IGNORE INTO fence VALUES (?, ?, ?, ?, NULL, 0)",
                (tenant, epoch, state.value, target),
            )
        row = self.fence_row(tenant)
        assert row is not None
        return row

    def fence_row(self, tenant: TenantId) -> FenceRow | None:
        with self._open() as db:
            row = db.execute(
                "SELECT state, epoch, target, deadline FROM fence WHERE owner = ?", (tenant,)
            ).fetchone()
        if row is None:
            return None
        state, left = FenceState(row[0]), row[3] - time.time()
        if state is FenceState.FENCED and left <= 0:
            state = FenceState.ACTIVE
        return FenceRow(state, row[1], self.environment, row[2], left if state is FenceState.FENCED else None)

    def fence(self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float) -> str:
        return self.hold_writes(tenant, epoch, ttl_s, budget_s, 1e9)

    def release(self, tenant: TenantId, ticket: str | None) -> None:
        self._change(
            "UPDATE fence SET state = 'ACTIVE' WHERE owner = ? AND state = 'FENCED' AND coalesce(?, ticket) = ticket",
            tenant,
            ticket,
        )

    def commit_move(self, tenant: TenantId, ticket: str, target: str | None) -> bool:
        return self._change(
            "UPDATE fence SET state = 'MOVED', epoch = epoch + 1, target = ? WHERE owner = ? AND state = 'FENCED' "
            "AND ticket = ? AND deadline > ?",
            target,
            tenant,
            ticket,
            time.time(),
        )

    def activate(self, tenant: TenantId, epoch: int) -> None:
        self._change(
            "UPDATE fence SET state = 'ACTIVE', epoch = ?, target = NULL WHERE owner = ? AND epoch < ? "
            "AND state IN ('MOVED', 'STANDBY')",
            epoch,
            tenant,
            epoch,
        )

    def disarm(self, tenant: TenantId) -> None:
        self._change("DELETE FROM fence WHERE owner = ?", tenant)

    def blockers(self, tenant: TenantId, older_than_s: float) -> list[str]:
        return []

    # -- Windows

    def hold_writes(
        self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float, window_s: float
    ) -> str:
        ticket = uuid.uuid4().hex
        taken = self._change(
            "UPDATE fence SET state = 'FENCED', ticket = ?, deadline = ? WHERE owner = ? AND epoch = ? "
            "AND (state = 'ACTIVE' OR state = 'FENCED' AND deadline < ?)",
            ticket,
            time.time() + min(ttl_s, window_s),
            tenant,
            epoch,
            time.time(),
        )
        if not taken:
            raise WrongState(f"{self.name}: not active at {epoch}")
        return ticket

    def renew(self, tenant: TenantId, ticket: str, ttl_s: float) -> str | None:
        new, now = uuid.uuid4().hex, time.time()
        changed = self._change(
            "UPDATE fence SET ticket = ?, deadline = ? WHERE owner = ? AND ticket = ? AND state = 'FENCED' "
            "AND deadline > ?",
            new,
            now + ttl_s,
            tenant,
            ticket,
            now,
        )
        return new if changed else None

    def tighten(self, tenant: TenantId, epoch: int, ticket: str, ttl_s: float, budget_s: float) -> str:
        new = self.renew(tenant, ticket, ttl_s)
        if new is None:
            raise WrongState("the fencing is lost")
        return new

    def loosen(self, tenant: TenantId, ticket: str, ttl_s: float, window_s: float) -> str | None:
        return self.renew(tenant, ticket, min(ttl_s, window_s))

    def _change(self, sql: str, *arguments: object) -> bool:
        with self._open() as db:
            return db.execute(sql, arguments).rowcount == 1


class _Reading:
    """What lies there now."""

    def __init__(self, items: Mapping[tuple[str, str], str]) -> None:
        self.at_us = time.time_ns() // 1000
        self.snapshot = None
        self.shapes = {name: opaque(name) for name in SETS}
        self.facts = {"version": "1"}
        self._items = items

    def items(self, set_name: str) -> Iterator[Item]:
        for (place, key), value in self._items.items():
            if place == set_name:
                yield Item(place, key.encode(), (value.encode(),), time.time_ns() // 1000)


class Pile:
    """A preview."""

    def __init__(self, store: CupboardStore, name: str, tenant: TenantId) -> None:
        self.name = name
        self._store, self._tenant = store, tenant

    def load(self, set_name: str, items: Iterable[Item], check: Check) -> int:
        bent = self._store.cupboard.faults().get("bends what it loads")
        with self._store._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM pile WHERE name = ? AND place = ?", (self.name, set_name))
            number = 0
            for number, item in enumerate(items, start=1):  # noqa: B007
                check()
                value = (item.cells[0] or b"").decode() + ("?" if bent else "")
                db.execute(
                    "INSERT INTO pile VALUES (?, ?, ?, ?)", (self.name, set_name, item.key.decode(), value)
                )
            db.execute("COMMIT")
        return number

    def _items(self) -> dict[tuple[str, str], str]:
        with self._store._open() as db:
            rows = db.execute("SELECT place, key, value FROM pile WHERE name = ?", (self.name,)).fetchall()
        return {(place, key): value for place, key, value in rows}

    def fingerprints(self, key: bytes) -> Mapping[str, Fingerprint]:
        items = self._items()
        return {
            name: fingerprint(
                key,
                (Item(p, k.encode(), (v.encode(),)) for (p, k), v in items.items() if p == name),
            )
            for name in SETS
        }

    def diff(self, examples: int, check: Check) -> list[SetDiff]:
        check()
        there, here = self._items(), self._store.cupboard.items(self._tenant)
        found = []
        for name in SETS:
            mine = {key: value for (place, key), value in there.items() if place == name}
            live = {key: value for (place, key), value in here.items() if place == name}
            both = mine.keys() & live.keys()
            differ = sorted(key for key in both if mine[key] != live[key])
            found.append(
                SetDiff(
                    name,
                    len(mine.keys() - live.keys()),
                    len(live.keys() - mine.keys()),
                    len(differ),
                    len(both) - len(differ),
                    tuple(differ[:examples]),
                )
            )
        return found

    def promote(self, writing: Writing, sets: Sequence[str] | None, check: Check) -> Mapping[str, int]:
        faults = self._store.cupboard.faults()
        if faults.get("promotions that fail", 0) > 0:
            self._store.cupboard.fault("promotions that fail", faults["promotions that fail"] - 1)
            raise StoreUnavailable("no answer", store=self._store.name)
        time.sleep(faults.get("slow", 0))
        check()
        changed = {
            diff.set: diff.only_restored + diff.only_live + diff.changed for diff in self.diff(0, check)
        }
        with self._store._open() as db:
            db.execute("BEGIN IMMEDIATE")
            seen = db.execute("SELECT token FROM seen WHERE owner = ?", (writing.tenant,)).fetchone()
            if seen and seen[0] > writing.token:
                raise Fenced("a newer driver was here")
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (writing.tenant, writing.token))
            for name in sets or SETS:
                db.execute("DELETE FROM item WHERE owner = ? AND place = ?", (writing.tenant, name))
                db.execute(
                    "INSERT INTO item SELECT ?, place, key, value FROM pile WHERE name = ? AND place = ?",
                    (writing.tenant, self.name, name),
                )
            db.execute("COMMIT")
        return changed

    def discard(self) -> None:
        with self._store._open() as db:
            db.execute("DELETE FROM pile WHERE name = ?", (self.name,))
            db.execute("DELETE FROM piles WHERE name = ?", (self.name,))


class BoxRepository:
    """One tenant's bases in a file; moments are those of bases, and of nothing between."""

    def __init__(self, file: Path, tenant: TenantId) -> None:
        self.tenant = tenant
        self.file = file
        with opened(file) as db:
            db.execute("CREATE TABLE IF NOT EXISTS base(n INTEGER PRIMARY KEY, id, data)")
            db.execute("CREATE TABLE IF NOT EXISTS fresh(at)")

    def begin_base(
        self,
        environment: str,
        kind: BaseKind,
        parent: str | None,
        labels: Mapping[str, str],
        timeline: int = 1,
        tier: str = "",
    ) -> _Writer:
        now = time.time_ns() // 1000
        manifest = Manifest(
            "0" + uuid.uuid4().hex[:25].upper(),
            self.tenant,
            environment,
            kind,
            parent,
            now,
            now,
            {},
            tier,
            labels,
            timeline=timeline,
        )
        return _Writer(self, manifest)

    def _stored(self) -> list[tuple[Manifest, dict[tuple[str, str], list[Item]]]]:
        with opened(self.file) as db:
            return [pickle.loads(row[0]) for row in db.execute("SELECT data FROM base ORDER BY n")]

    def manifests(self) -> list[Manifest]:
        return [manifest for manifest, _ in self._stored()]

    def items(self, manifest: Manifest, store: str, set_name: str) -> Iterator[Item]:
        found = next(items for one, items in self._stored() if one.id == manifest.id)
        yield from found[(store, set_name)]

    def window(self) -> RestoreWindow:
        """With a log that is complete until now if the test says so."""
        with opened(self.file) as db:
            fresh = [Interval(int(at), int(at)) for (at,) in db.execute("SELECT at FROM fresh")]
        return RestoreWindow(tuple(fresh), ())

    def logged_until_now(self) -> None:
        with opened(self.file) as db:
            db.execute("INSERT INTO fresh VALUES (?)", (time.time() * 1e6,))

    def moment(self, at_us: int) -> Moment:
        raise NotRestorable(f"no log at {at_us}", next_step="the bases")

    def fingerprint_key(self) -> bytes:
        return KEY

    def append(self, *arguments: object) -> None:
        raise NotImplementedError

    frames = append  # type: ignore[assignment]

    def coverage(self) -> list[Any]:
        return []


class _Writer:
    def __init__(self, repository: BoxRepository, manifest: Manifest) -> None:
        self._repository, self._manifest = repository, manifest
        self._items: dict[tuple[str, str], list[Item]] = {}

    def add(self, store: str, shape: Shape, items: Iterable[Item]) -> SetStored:
        kept = self._items[(store, shape.set)] = list(items)
        return SetStored(shape, fingerprint(KEY, kept), 10 * len(kept), 5 * len(kept))

    def gone(self, store: str, set_name: str, keys: Iterable[bytes]) -> None:
        raise NotImplementedError

    def commit(self, stores: Mapping[str, StoreBase], finished_us: int, expires_us: int | None) -> Manifest:
        done = replace(self._manifest, stores=stores, finished_us=finished_us, expires_us=expires_us)
        with opened(self._repository.file) as db:
            data = pickle.dumps((done, self._items))
            db.execute("INSERT INTO base(id, data) VALUES (?, ?)", (done.id, data))
        return done
