"""A store on disk, as small as one can be that erases, closes and is searched; it can be told to misbehave.

An SQLite file, so that what a killed process did is still there. Items are ``(place, owner, key, value)``; places
that begin with ``hidden`` are mentioned by no map, so the eraser does not know them and the verifier does.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import Fenced, StoreReadOnly, StoreUnavailable
from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.erasure.outcome import Level, Look
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import (
    Erased,
    Erasing,
    Found,
    Hit,
    Horizon,
    Looked,
    Match,
    Place,
    Planted,
    Refused,
    Settled,
    Whose,
)

BATCH = 2


class Shelf:
    """The file, and what it is told to do wrong."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with self.open() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS item(place, owner, key, value, PRIMARY KEY(place, owner, key))"
            )
            db.execute("CREATE TABLE IF NOT EXISTS closed(owner PRIMARY KEY)")
            db.execute("CREATE TABLE IF NOT EXISTS seen(owner PRIMARY KEY, token)")
            db.execute("CREATE TABLE IF NOT EXISTS deletions(owner, key, at)")
            db.execute("CREATE TABLE IF NOT EXISTS fault(name PRIMARY KEY, value)")

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=10, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")
            yield db

    def put(self, owner: str, *keys: str, place: str = "documents") -> None:
        """Write as the application does; refused once the owner is closed."""
        with self.open() as db:
            if db.execute("SELECT 1 FROM closed WHERE owner = ?", (owner,)).fetchone():
                raise StoreReadOnly("the tenant is closed", store=self.file.name)
            for key in keys:
                db.execute(
                    "INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?)", (place, owner, key, f"{owner}:{key}")
                )

    def keys(self, owner: str) -> list[str]:
        with self.open() as db:
            rows = db.execute("SELECT place || '/' || key FROM item WHERE owner = ? ORDER BY 1", (owner,))
            return [row[0] for row in rows]

    def deletions(self) -> list[tuple[str, str]]:
        with self.open() as db:
            return db.execute("SELECT owner, key FROM deletions ORDER BY rowid").fetchall()

    def fault(self, name: str, value: Any = True) -> None:
        """``down``, ``down for``, ``read only``, ``lies``, ``locked until``, ``slow``, ``blind``."""
        with self.open() as db:
            db.execute("INSERT OR REPLACE INTO fault VALUES (?, ?)", (name, json.dumps(value)))

    def mend(self) -> None:
        with self.open() as db:
            db.execute("DELETE FROM fault")

    def faults(self) -> Mapping[str, Any]:
        with self.open() as db:
            return {name: json.loads(value) for name, value in db.execute("SELECT * FROM fault")}


@dataclass
class ShelfStore:
    """A `Shelf` as the eraser's store."""

    shelf: Shelf
    name: str
    kind: str = "shelf"
    environment: str = "blue"

    def probe(self) -> list[Finding]:
        return []

    def tenants(self) -> list[TenantId]:
        with self._reach() as db:
            return [TenantId(row[0]) for row in db.execute("SELECT DISTINCT owner FROM item ORDER BY 1")]

    def holds(self, tenant: TenantId) -> bool:
        return tenant in self.tenants()

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        query = "SELECT place, count(*) FROM item WHERE owner = ? GROUP BY place ORDER BY 1"
        with self._reach() as db:
            return [SetSize(place, items, 0, True) for place, items in db.execute(query, (tenant,))]

    def close(self) -> None:
        """Nothing is held."""

    # -- Erases

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        self._faults()
        return [Finding("shelf.answers", Severity.OK, "answers", subject=self.name)]

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        query = "SELECT place, key FROM item WHERE owner = ? AND place NOT LIKE 'hidden%' ORDER BY 1, 2"
        with self._reach() as db:
            rows = db.execute(query, (tenant,)).fetchall()
        for place in sorted({place for place, _ in rows}):
            keys = [f"{place}/{key}".encode() for one, key in rows if one == place]
            for start in range(0, len(keys), BATCH):
                check()
                yield Batch(place, Method.DELETE, tuple(keys[start : start + BATCH]), 10)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        faults = self._faults()
        if faults.get("read only"):
            raise StoreReadOnly("read only", store=self.name, next_step="make it writable")
        check()
        time.sleep(faults.get("slow", 0))
        if faults.get("lies"):
            return Erased(len(batch.keys), 0)
        if "locked until" in faults:
            until = faults["locked until"]
            return Erased(0, 0, tuple(Refused(key, "AccessDenied", until) for key in batch.keys))
        return self._delete(erasing, batch)

    def _delete(self, erasing: Erasing, batch: Batch) -> Erased:
        deleted = 0
        with self.shelf.open() as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT token FROM seen WHERE owner = ?", (erasing.tenant,)).fetchone()
            if row is not None and row[0] > erasing.token:
                raise Fenced("a newer driver was here")
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (erasing.tenant, erasing.token))
            for key in batch.keys:
                place, _, name = key.decode().partition("/")
                gone = db.execute(
                    "DELETE FROM item WHERE place = ? AND owner = ? AND key = ?",
                    (place, erasing.tenant, name),
                )
                deleted += gone.rowcount
                if gone.rowcount:
                    db.execute("INSERT INTO deletions VALUES (?, ?, ?)", (erasing.tenant, name, time.time()))
            db.execute("COMMIT")
        return Erased(deleted, len(batch.keys) - deleted)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
        faults = self._faults()
        check()
        return Settled(("vacuumed",), tuple(faults.get("unsettled", ())), tuple(faults.get("traces", ())))

    def horizon(self) -> Horizon | None:
        days = self._faults().get("horizon days")
        return None if days is None else Horizon(Level.VENDOR, days, "the shelf maker's word")

    # -- Closes

    def close_writes(self, erasing: Erasing) -> None:
        with self._reach() as db:
            db.execute("INSERT OR IGNORE INTO closed VALUES (?)", (erasing.tenant,))

    def reopen(self, erasing: Erasing) -> None:
        with self._reach() as db:
            db.execute("DELETE FROM closed WHERE owner = ?", (erasing.tenant,))

    def closed(self, tenant: TenantId) -> bool:
        with self._reach() as db:
            return db.execute("SELECT 1 FROM closed WHERE owner = ?", (tenant,)).fetchone() is not None

    def forget(self, erasing: Erasing) -> None:
        self.reopen(erasing)

    # -- Plants

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        with self._reach() as db:
            row = ("documents", erasing.tenant, marker, f"{erasing.tenant}:{marker}")
            db.execute("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?)", row)
        return [Planted("documents", 1)]

    def _faults(self) -> Mapping[str, Any]:
        faults = self.shelf.faults()
        if faults.get("down"):
            raise StoreUnavailable(f"{self.name}: no answer", store=self.name)
        if faults.get("down for", 0) > 0:
            self.shelf.fault("down for", faults["down for"] - 1)
            raise StoreUnavailable(f"{self.name}: no answer", store=self.name)
        return faults

    @contextmanager
    def _reach(self) -> Iterator[sqlite3.Connection]:
        self._faults()
        with self.shelf.open() as db:
            yield db


@dataclass
class ShelfVerifier:
    """The same file with the verifier's eyes; shares no query with the eraser."""

    shelf: Shelf
    name: str
    kind: str = "shelf"
    environment: str = "blue"
    proves: Level = Level.EXHAUSTIVE

    def probe(self) -> list[Finding]:
        return []

    def tenants(self) -> list[TenantId]:
        return []

    def holds(self, tenant: TenantId) -> bool:
        return False

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:
        return []

    def close(self) -> None:
        """Nothing is held."""

    def verifier_findings(self) -> list[Finding]:
        return []

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:
        check()
        with self.shelf.open() as db:
            rows = db.execute("SELECT place || '/' || key, owner FROM item").fetchall()
        mine = {key.encode() for key, owner in rows if owner == tenant}
        return frozenset(mine & set(batch.keys))

    def places(self) -> list[Place]:
        if self.shelf.faults().get("verifier down"):
            raise StoreUnavailable("no answer", store=self.name)
        with self.shelf.open() as db:
            names = [row[0] for row in db.execute("SELECT DISTINCT place FROM item ORDER BY 1")]
        return [Place(name, not name.startswith("hidden")) for name in names]

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        check()
        if self.shelf.faults().get("blind"):
            return Looked(0, 0)
        with self.shelf.open() as db:
            values = [row[0] for row in db.execute("SELECT value FROM item WHERE place = ?", (place.name,))]
        hits, control = [], False
        for value in values:
            for match in found(value.encode()):
                if match.whose is Whose.CONTROL:
                    control = True
                else:
                    proposal = "" if place.declared else f"add {place.name}"
                    hits.append(Hit(place.name, value, match, proposal))
        return Looked(len(values), 0, tuple(hits), len(hits), control)


@dataclass(frozen=True)
class Seen:
    """What `looker` gives back."""

    look: Look
    hits: Sequence[Hit] = field(default_factory=tuple)
    items: int = 0
    bytes: int = 0


def looker(tenant: TenantId, control: str, clock: Any) -> Any:
    """A plain search for a tenant's items, by the owner that stands before the colon of each value."""

    def found(data: bytes) -> list[Match]:
        owner = data.decode().partition(":")[0]
        if owner == tenant:
            return [Match(Whose.TENANT, "id", "plain")]
        return [Match(Whose.CONTROL, "id", "plain")] if owner == control else []

    def look(searcher: Any, batches: Iterable[Batch], check: Check, kept: Iterable[Batch]) -> Seen:
        remaining = sum(len(searcher.remaining(tenant, batch, check)) for batch in batches)
        staying = sum(len(searcher.remaining(tenant, batch, check)) for batch in kept)
        looks = [searcher.search(place, found, check) for place in searcher.places()]
        hits = [hit for one in looks for hit in one.hits]
        # Items of the manifest are counted once, as remaining.
        beyond = max(0, len(hits) - remaining - staying)
        control_found = any(one.control_found for one in looks)
        return Seen(
            Look(remaining, beyond, control_found, True, "", clock(), searcher.proves), hits, len(hits)
        )

    return look
