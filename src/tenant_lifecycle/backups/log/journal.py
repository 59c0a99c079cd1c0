"""One tenant's own part of the change log: chains of sealed segments, one for each line.

The name of a segment is its number, and names are created once: of two archivers that append at the same time, one
is told so. Appending twice adds nothing, because positions that are stored already are left out. A chain may begin
with any number (what is older was deleted by retention); inside of it nothing may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenant_lifecycle.backups.contract import Covered, Storage
from tenant_lifecycle.backups.log.chain import (
    check_number,
    check_previous,
    lost_to_another,
    name_of,
    new_of,
    numbered,
)  # fmt: skip
from tenant_lifecycle.backups.log.segment import (
    HEADING_BYTES,
    digest_of,
    frames_of,
    heading_of,
    runs,
    seal,
)  # fmt: skip
from tenant_lifecycle.backups.log.stretch import Content, Heading, Line, Stretch
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.sealing import Kind, Sealer
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame


class TenantLog:
    """The log in one tenant's directory."""

    def __init__(self, storage: Storage, sealer: Sealer, directory: Directory) -> None:
        self.storage = storage
        self.sealer = sealer
        self.directory = directory
        #: Segments never change: what one says about itself is asked once.
        self._headings: dict[str, Heading] = {}
        #: Name and digest of the newest segment that is known.
        self._heads: dict[Line, tuple[str, str]] = {}

    def append(self, line: Line, frames: Sequence[Frame], stretch: Stretch) -> None:
        """Store what is not stored yet; durable on return. Parts of one transaction come in one call.

        Raises:
            LeaseLost: somebody else appended something at the same time.
            InvariantViolated: positions do not grow, or lie outside of the stretch.
        """
        head = self.head(line)
        rest, missing = new_of(frames, stretch, None if head is None else head.stretch.through)
        if head is not None and missing.through <= head.stretch.through:
            return
        for piece, some in runs(rest, missing):
            head = self._append_one(line, head, piece, some)

    def frames(self, line: Line, from_position: int, through_us: int | None = None) -> Iterator[Frame]:
        """From this position on, in order; at least up to the first that is behind ``through_us``.

        Raises:
            RepositoryDamaged: a segment is missing, was changed, or is not the one that was there.
        """
        digest: str | None = None
        for name, heading in self.segments(line):
            content = heading.content
            if content.last < from_position:
                digest = None
                continue
            check_previous(digest, name, heading)
            found, digest = self.read(name, heading)
            yield from (frame for frame in found if frame.position >= from_position)
            if content.frames and through_us is not None and heading.stretch.from_us > through_us:
                return

    def segments(self, line: Line) -> Iterator[tuple[str, Heading]]:
        """Name and heading of every segment of a line in order, none missing in between; no key is needed.

        Raises:
            RepositoryDamaged: one is missing, or lies in another's place.
        """
        before: Heading | None = None
        for found in numbered(self.storage, self._folder(line), "seg"):
            heading = self._heading(found.name, found.size)
            if heading.number != found.number or heading.line != line:
                raise RepositoryDamaged(f"{found.name}: is the segment of another place")
            check_number(before, found.name, heading)
            yield found.name, heading
            before = heading

    def read(self, name: str, heading: Heading) -> tuple[list[Frame], str]:
        """A segment's frames, decrypted, and its digest."""
        data = self.storage.get(name)
        frames = frames_of(self.sealer, Kind.SEGMENT, name, data)
        if heading_of(name, data) != heading or Content.of(frames) != heading.content:
            raise RepositoryDamaged(f"{name}: has other frames than it says")
        return frames, digest_of(data)

    def lines(self) -> list[Line]:
        """Every line that has a segment here."""
        listed = self.storage.names(self.directory.below("log/"))
        newest = {name.rpartition("/")[0]: (name, size) for name, size, _ in listed if name.endswith(".seg")}
        return [self._heading(name, size).line for name, size in newest.values()]

    def coverage(self, line: Line) -> list[Stretch]:
        """What the segments cover, in order."""
        return [heading.stretch for _, heading in self.segments(line)]

    def covered(self) -> list[Covered]:
        """Of every line that is the tenant's alone."""
        return [
            stretch.covered(line, line.timeline)
            for line in self.lines() if line.timeline
            for stretch in self.coverage(line)
        ]  # fmt: skip

    def head(self, line: Line) -> Heading | None:
        """The newest segment's heading; None if there is none."""
        known = self._heads.get(line)
        newest = list(numbered(self.storage, self._folder(line), "seg", "" if known is None else known[0]))
        if newest:
            data = self.storage.get(newest[-1].name)
            self._remember(line, newest[-1].name, heading_of(newest[-1].name, data), data)
        return self._headings[self._heads[line][0]] if line in self._heads else None

    def newest(self, line: Line) -> tuple[str, str]:
        """Name and digest of the newest segment; there is one."""
        self.head(line)
        return self._heads[line]

    def check_there(self, line: Line, names: Sequence[str]) -> None:
        """Whether these segments are still in the log, or older than everything that is.

        Raises:
            RepositoryDamaged: the end of the log is missing.
        """
        head = self.head(line)
        for name in names:
            if head is None or name > self.newest(line)[0]:
                raise RepositoryDamaged(
                    f"{name}: is not in the repository, though everything up to it was written",
                    next_step="bring it back from the other region: tenantctl backup check --repair",
                )

    def head_digest(self, line: Line) -> str:
        """Of the newest segment that is known; empty before the first."""
        return self._heads[line][1] if line in self._heads else ""

    def _append_one(
        self, line: Line, head: Heading | None, stretch: Stretch, frames: Sequence[Frame]
    ) -> Heading:
        number = 1 if head is None else head.number + 1
        name = name_of(self._folder(line), number, "seg")
        heading = Heading(line, number, stretch, Content.of(frames), self.head_digest(line))
        data = seal(self.sealer, name, heading, frames)
        if not self.storage.put(name, data):
            data = self.storage.get(name)
            if heading_of(name, data) != heading or self.read(name, heading)[0] != list(frames):
                raise lost_to_another(line, name, self.storage.where)
        self._remember(line, name, heading, data)
        return heading

    def _remember(self, line: Line, name: str, heading: Heading, data: bytes) -> None:
        self._headings[name] = heading
        self._heads[line] = name, digest_of(data)

    def _heading(self, name: str, size: int) -> Heading:
        if name not in self._headings:
            beginning = self.storage.get(name, 0, min(size, HEADING_BYTES))
            self._headings[name] = heading_of(name, beginning)
        return self._headings[name]

    def _folder(self, line: Line) -> str:
        return self.directory.below(f"log/{line.place()}")
