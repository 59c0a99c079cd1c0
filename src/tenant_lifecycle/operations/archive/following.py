"""Archives a store that has a change log of its own: read, collect, flush, and only then let the store forget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.errors import FeedGap, LifecycleError
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive import pressure
from tenant_lifecycle.operations.archive.line import Line, Reach, begins
from tenant_lifecycle.operations.archive.writers import Writers
from tenant_lifecycle.stores.backing import Archive, Archives

logger = logging.getLogger(__name__)

#: A flush has about so many ops at most, whatever the promise.
FLUSH_OPS = 64_000
#: How often tables that are left out are looked for.
_UNCOVERED_S = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """What is archived, and how."""

    #: Inside the environment: ``postgres``.
    store: str
    environment: str
    #: Of slot and publication.
    archive: str
    spool: Path
    #: Seconds after which a change is in the repository: the smallest of the tenants' tiers. Asked at every flush.
    rpo_s: Callable[[], float]
    tenants: Callable[[], list[TenantId]]

    @property
    def name(self) -> str:
        return f"{self.environment}/{self.store}"


class LogArchiver:
    """One store's log; used by one thread. `step` again and again; `close` at any time."""

    def __init__(self, source: Source, store: Archives, line: Line, writers: Writers) -> None:
        self.source = source
        #: How far the repository has it; None before anything was read.
        self.reach: Reach | None = None
        self.findings: list[Finding] = []
        self._store, self._line, self._writers = store, line, writers
        self._archive: Archive | None = None
        self._frames: dict[TenantId, list[Frame]] = {}
        self._arrived: Reach | None = None
        self._ops = 0
        self._flushed_at = time.monotonic()
        self._looked_at = -_UNCOVERED_S
        self._left_out: list[Finding] = []

    def step(self) -> None:
        """Read for a moment, and flush if it is time.

        Raises:
            LifecycleError: of the store or the repository; `close`, and step again later. Nothing is lost.
        """
        archive = self._archive or self._open()
        rpo_s = self.source.rpo_s()
        try:
            arrived = archive.read(min(1.0, rpo_s / 5))
        except FeedGap as exc:
            logger.warning("archive %s: %s; it begins anew", self.source.name, exc)
            with suppress(LifecycleError):
                self.flush()  # what came before is whole
            self.close()
            return
        for tenant, frame in arrived.frames:
            self._frames.setdefault(tenant, []).append(frame)
            self._ops += len(frame.ops)
        self._arrived = Reach(arrived.position, arrived.complete_us)
        # Half of the promise: the other half is for writing it away.
        if self._ops >= FLUSH_OPS or time.monotonic() - self._flushed_at >= rpo_s / 2:
            self.flush()
            self._look(archive, rpo_s)

    def flush(self) -> None:
        """Write what is complete into the repository, then let the store forget it."""
        arrived, reach = self._arrived, self.reach
        if arrived is None or reach is None or self._archive is None:
            return
        if arrived.at_us <= reach.at_us or arrived.position <= reach.position:
            return
        ready = {
            tenant: [frame for frame in frames if reach.position < frame.position <= arrived.position]
            for tenant, frames in self._frames.items()
        }
        broken = self._writers.broken(self.source.tenants())
        covered = Covered(self.source.store, 0, reach.position, arrived.position, reach.at_us, arrived.at_us)
        self._line.flush({tenant: frames for tenant, frames in ready.items() if frames}, covered, broken)
        self._archive.confirm(arrived.position)
        # Parts of a transaction that is not complete yet stay.
        rest = {
            tenant: [frame for frame in frames if frame.position > arrived.position]
            for tenant, frames in self._frames.items()
        }
        self._frames = {tenant: frames for tenant, frames in rest.items() if frames}
        self._ops = sum(len(frame.ops) for frames in self._frames.values() for frame in frames)
        self.reach = arrived
        self._flushed_at = time.monotonic()

    def _open(self) -> Archive:
        """Create what is missing, and find where the next stretch begins."""
        self._store.create_archive(self.source.archive)
        archive = self._store.open_archive(self.source.archive, self.source.spool)
        self.reach = begins(self._line, Reach(archive.begins_position, archive.begins_us))
        self._archive = archive
        self._flushed_at = time.monotonic()
        logger.info("archive %s: reading", self.source.name)
        return archive

    def _look(self, archive: Archive, rpo_s: float) -> None:
        """Find out whether somebody has to be told; say it once."""
        now = time.monotonic()
        if now - self._looked_at >= _UNCOVERED_S:
            self._left_out = pressure.left_out(self.source.name, self._store.uncovered())
            self._looked_at = now
        behind_s = time.time() - self.reach.at_us / 1e6 if self.reach else 0.0
        found = [
            *self._left_out,
            *pressure.room(self.source.name, archive.held_bytes(), archive.room_bytes()),
            *pressure.lateness(self.source.name, behind_s, rpo_s),
        ]
        known = {finding.code for finding in self.findings}
        for finding in found:
            if finding.code not in known:
                logger.warning("archive %s: %s", self.source.name, finding.message)
        self.findings = found

    def close(self) -> None:
        """Stop reading; what was not flushed comes again. Safe to repeat."""
        if self._archive is not None:
            self._archive.close()
        self._archive, self._arrived, self._frames, self._ops = None, None, {}, 0
