"""The log of one database and all its tenants: a flush every few seconds, later moved to the tenants' own logs.

Flushes are numbered and chained as segments are, so two archivers of one database notice each other. `compact` moves
what several flushes have of a tenant into one segment of its own log, and then writes one *ledger* that stands for
all of them; `sweep` deletes flushes that a ledger stands for. Killed at any point, both go on where they were: what
was moved already is left out, and until the ledger is there the flushes count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.log.chain import (
    Named,
    check_number,
    check_previous,
    lost_to_another,
    name_of,
    new_of,
    numbered,
)  # fmt: skip
from tenant_lifecycle.backups.log.flush import (
    FRONT_BYTES,
    Ledger,
    Part,
    front_length,
    ledger_length,
    open_ledger,
    open_part,
    seal_ledger,
    seal_part,
    together,
)  # fmt: skip
from tenant_lifecycle.backups.log.journal import TenantLog
from tenant_lifecycle.backups.log.segment import digest_of
from tenant_lifecycle.backups.log.stretch import Content, Heading, Line, Stretch
from tenant_lifecycle.backups.sealing import Sealer
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame
from tenant_lifecycle.model.names import TenantId

#: Below this every line has a folder for its flushes, and one for its ledgers.
FOLDER = "slots"


class SlotLog:
    """One line for all tenants. ``sealer`` is the repository's own; ``log_of`` opens a tenant's log."""

    def __init__(
        self, storage: Storage, sealer: Sealer, line: Line, log_of: Callable[[TenantId], TenantLog]
    ) -> None:
        self.line = line
        self._storage = storage
        self._sealer = sealer
        self._log_of = log_of
        self._ledgers: dict[str, Ledger] = {}
        #: Of ledgers.
        self._digests: dict[str, str] = {}
        #: Where the parts of a flush begin.
        self._begins: dict[str, int] = {}
        self._head: tuple[Heading, str] | None = None

    def flush(
        self,
        frames: Mapping[TenantId, Sequence[Frame]],
        stretch: Stretch,
        broken: Mapping[TenantId, str] | None = None,
    ) -> None:
        """Store what is not stored yet; durable on return, and only then the source may forget it.

        ``stretch`` holds for every tenant, named or not, but for those in ``broken``: for them, and why, it is not
        covered. Repeating it adds nothing.

        Raises:
            LeaseLost: another archiver flushed at the same time.
            InvariantViolated: positions do not grow, or lie outside of the stretch.
        """
        head = self.head()
        through = None if head is None else head.stretch.through
        new = {tenant: new_of(some, stretch, through)[0] for tenant, some in frames.items()}
        if through is not None and stretch.through <= through:
            return
        missing = new_of((), stretch, through)[1]
        self._write(head, missing, {tenant: some for tenant, some in new.items() if some}, broken or {})

    def head(self) -> Heading | None:
        """The newest flush; None before the first."""
        known = "" if self._head is None else self._flush_name(self._head[0].number)
        newest = list(numbered(self._storage, self._folder("flushes"), "stg", known))
        if newest:
            self._remember(newest[-1].name, self._storage.get(newest[-1].name))
        return None if self._head is None else self._head[0]

    def ledgers(self) -> Iterator[Ledger]:
        """What is known of every tenant, in order: compacted stretches, then the flushes behind them.

        Raises:
            RepositoryDamaged: an object is missing, or was changed.
        """
        before: Heading | None = None
        for ledger in self.compacted():
            yield ledger
            before = ledger.heading
        for found in numbered(self._storage, self._folder("flushes"), "stg"):
            if before is None or found.number > before.number:
                ledger = self._flush(found)
                check_number(before, found.name, ledger.heading)
                before = ledger.heading
                yield ledger

    def compacted(self) -> Iterator[Ledger]:
        """Ledgers that stand for flushes, in order; each has the number of its last flush."""
        digest: str | None = None
        for found in numbered(self._storage, self._folder("ledgers"), "cov"):
            if found.name not in self._digests:
                data = self._storage.get(found.name)
                self._opened(found.name, data)
                self._digests[found.name] = digest_of(data)
            ledger = self._ledgers[found.name]
            check_previous(digest, found.name, ledger.heading)
            digest = self._digests[found.name]
            yield ledger

    def frames(self, log: TenantLog, from_position: int, through_us: int | None = None) -> Iterator[Frame]:
        """One tenant's, from its own log and then from flushes, in order; ends as `TenantLog.frames` does.

        Raises:
            RepositoryDamaged: something is missing, or was changed.
        """
        tenant = log.directory.path
        own = [ledger.parts[tenant] for ledger in self.ledgers() if tenant in ledger.parts]
        log.check_there(self.line, [part.segment for part in own if part.segment][-1:])
        reached = from_position
        for frame in log.frames(self.line, from_position, through_us):
            reached = frame.position
            yield frame
        head = log.head(self.line)
        reached = max(from_position, reached if head is None else head.stretch.through + 1)
        for ledger in self.ledgers():
            part = ledger.parts.get(tenant)
            if part is None or not part.length or part.content.last < reached:
                continue
            yield from (frame for frame in self.read(log, ledger, part) if frame.position >= reached)
            if through_us is not None and ledger.heading.stretch.from_us > through_us:
                return

    def read(self, log: TenantLog, ledger: Ledger, part: Part) -> list[Frame]:
        """A tenant's frames of one flush."""
        begins = self._begins[ledger.name]
        return open_part(
            log.sealer, ledger, part, self._storage.get(ledger.name, begins + part.offset, part.length)
        )

    def coverage(self, tenant: str) -> list[tuple[Stretch, str]]:
        """What is covered for the tenant in that directory, in order; with a reason: it is not, and why."""
        return [
            (ledger.heading.stretch, ledger.parts[tenant].broken if tenant in ledger.parts else "")
            for ledger in self.ledgers()
        ]

    def compact(self, tenants: Callable[[str], TenantLog | None]) -> int:
        """Move whole runs of flushes into tenants' own logs; how many flushes.

        ``tenants`` opens the log in a directory; None: that tenant's keys were destroyed, and its parts are left.

        Raises:
            LeaseLost: somebody else compacts.
        """
        moved = 0
        for run in _runs(self._behind()):
            parts = [self._moved(tenant, tenants(tenant), run) for tenant in _named(run)]
            self._write_ledger(run, parts)
            moved += len(run)
        return moved

    def sweep(self, before: float) -> int:
        """Delete flushes that a ledger stands for, older than ``before`` (seconds since 1970); how many.

        The last flush of the last ledger stays: the next one is chained to it.
        """
        last = max((ledger.heading.number for ledger in self.compacted()), default=0)
        swept = 0
        for name, _, modified in list(self._storage.names(f"{self._folder('flushes')}/")):
            if name < self._flush_name(last) and modified < before:
                self._storage.delete(name)
                swept += 1
        return swept

    def check(self) -> Iterator[str]:
        """Names of all flushes, their digests and numbers checked; no tenant's key is needed.

        Raises:
            RepositoryDamaged: one is missing, or is not the one that was there.
        """
        before: Heading | None = None
        digest: str | None = None
        for found in numbered(self._storage, self._folder("flushes"), "stg"):
            ledger = self._flush(found)
            check_number(before, found.name, ledger.heading)
            check_previous(digest, found.name, ledger.heading)
            data = self._storage.get(found.name)
            begins = self._begins[found.name]
            for part in ledger.parts.values():
                if part.digest != digest_of(data[begins + part.offset : begins + part.offset + part.length]):
                    raise RepositoryDamaged(f"{found.name}: the part of {part.tenant} was changed")
            before, digest = ledger.heading, digest_of(data)
            yield found.name

    def _write(
        self,
        head: Heading | None,
        stretch: Stretch,
        frames: Mapping[TenantId, Sequence[Frame]],
        broken: Mapping[TenantId, str],
    ) -> None:
        number = 1 if head is None else head.number + 1
        name = self._flush_name(number)
        parts, bodies = self._parts(name, frames, broken)
        content = Content.of(sorted((one for some in frames.values() for one in some), key=_position))
        previous = "" if self._head is None else self._head[1]
        heading = Heading(self.line, number, stretch, content, previous)
        data = together(seal_ledger(self._sealer, name, heading, parts), bodies)
        if not self._storage.put(name, data):
            data = self._storage.get(name)
            if not self._is_ours(name, data, heading, parts):
                raise lost_to_another(self.line, name, self._storage.where)
        self._remember(name, data)

    def _parts(
        self, name: str, frames: Mapping[TenantId, Sequence[Frame]], broken: Mapping[TenantId, str]
    ) -> tuple[list[Part], list[bytes]]:
        parts: list[Part] = []
        bodies: list[bytes] = []
        offset = 0
        for tenant in sorted({*frames, *broken}):
            log, some = self._log_of(tenant), frames.get(tenant, ())
            directory, why = log.directory.path, broken.get(tenant, "")
            if not some:
                parts.append(Part(directory, Content(), broken=why))
                continue
            body = seal_part(log.sealer, name, directory, some)
            parts.append(Part(directory, Content.of(some), offset, len(body), digest_of(body), broken=why))
            bodies.append(body)
            offset += len(body)
        return parts, bodies

    def _is_ours(self, name: str, data: bytes, heading: Heading, parts: Sequence[Part]) -> bool:
        """Whether what lies there says the same: our own attempt, of which we never heard that it worked."""
        there = self._opened(name, _ledger_in(name, data))
        contents = {tenant: (part.content, part.broken) for tenant, part in there.parts.items()}
        return there.heading == heading and contents == {
            part.tenant: (part.content, part.broken) for part in parts
        }

    def _behind(self) -> list[Ledger]:
        """Flushes that no ledger stands for."""
        last = max((ledger.heading.number for ledger in self.compacted()), default=0)
        return [ledger for ledger in self.ledgers() if ledger.heading.number > last]

    def _moved(self, tenant: str, log: TenantLog | None, run: Sequence[Ledger]) -> Part:
        """One tenant's frames of a run of flushes, appended to its own log."""
        if log is None:
            return Part(tenant, Content(), broken="the tenant's keys were destroyed")
        mine = [(ledger, ledger.parts[tenant]) for ledger in run if tenant in ledger.parts]
        frames = [frame for ledger, part in mine if part.length for frame in self.read(log, ledger, part)]
        broken = next((part.broken for _, part in mine if part.broken), "")
        if not frames:
            return Part(tenant, Content(), broken=broken)
        log.append(self.line, frames, _union(run))
        name, digest = log.newest(self.line)
        return Part(tenant, Content.of(frames), digest=digest, segment=name, broken=broken)

    def _write_ledger(self, run: Sequence[Ledger], parts: Sequence[Part]) -> None:
        before = list(numbered(self._storage, self._folder("ledgers"), "cov"))
        previous = digest_of(self._storage.get(before[-1].name)) if before else ""
        name = name_of(self._folder("ledgers"), run[0].heading.number, "cov")
        content = Content(
            sum(ledger.heading.content.frames for ledger in run),
            sum(ledger.heading.content.ops for ledger in run),
            unsure=sum(ledger.heading.content.unsure for ledger in run),
        )
        heading = Heading(self.line, run[-1].heading.number, _union(run), content, previous)
        if not self._storage.put(name, seal_ledger(self._sealer, name, heading, parts)):
            raise lost_to_another(self.line, name, self._storage.where)

    def _flush(self, found: Named) -> Ledger:
        """The ledger of a flush, without its parts."""
        if found.name not in self._begins:
            length = ledger_length(found.name, self._storage.get(found.name, 0, min(found.size, FRONT_BYTES)))
            begins = front_length(length)
            if begins > found.size:
                raise RepositoryDamaged(f"{found.name}: is cut off inside its ledger")
            self._opened(found.name, self._storage.get(found.name, FRONT_BYTES, length))
            self._begins[found.name] = begins
        return self._ledgers[found.name]

    def _opened(self, name: str, ledger: bytes) -> Ledger:
        if name not in self._ledgers:
            opened = open_ledger(self._sealer, name, ledger)
            if opened.heading.line != self.line:
                raise RepositoryDamaged(f"{name}: is an object of another log")
            self._ledgers[name] = opened
        return self._ledgers[name]

    def _remember(self, name: str, data: bytes) -> None:
        ledger = _ledger_in(name, data)
        self._head = self._opened(name, ledger).heading, digest_of(data)
        self._begins[name] = front_length(len(ledger))

    def _flush_name(self, number: int) -> str:
        return name_of(self._folder("flushes"), number, "stg")

    def _folder(self, kind: str) -> str:
        return f"{FOLDER}/{self.line.place()}/{kind}"


def _ledger_in(name: str, flush: bytes) -> bytes:
    length = ledger_length(name, flush)
    return flush[FRONT_BYTES : FRONT_BYTES + length]


def _position(frame: Frame) -> int:
    return frame.position


def _union(run: Sequence[Ledger]) -> Stretch:
    first, last = run[0].heading.stretch, run[-1].heading.stretch
    return Stretch(first.after, last.through, first.from_us, last.through_us)


def _named(run: Sequence[Ledger]) -> list[str]:
    return sorted({tenant for ledger in run for tenant in ledger.parts})


def _runs(flushes: Sequence[Ledger]) -> Iterator[list[Ledger]]:
    """Flushes without a hole in between; one that does not count for somebody is alone."""
    run: list[Ledger] = []
    for ledger in flushes:
        if run and not _goes_on(run[-1], ledger):
            yield run
            run = []
        run.append(ledger)
    if run:
        yield run


def _goes_on(before: Ledger, ledger: Ledger) -> bool:
    stretch = ledger.heading.stretch
    adjoins = stretch.after <= before.heading.stretch.through and (
        stretch.from_us <= before.heading.stretch.through_us + 1
    )
    whole = not any(part.broken for one in (before, ledger) for part in one.parts.values())
    return adjoins and whole
