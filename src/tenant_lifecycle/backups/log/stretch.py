"""Which stretch of a log an object holds: its header, readable without a key, true only if the object opens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tenant_lifecycle.backups.contract import Covered
from tenant_lifecycle.errors import RepositoryDamaged
from tenant_lifecycle.model.backup.items import Frame, Reshape, Unknown


@dataclass(frozen=True, slots=True)
class Line:
    """One log with positions that grow: of a database and all its tenants, or of a tenant's time-line alone."""

    store: str
    #: Of a log for all tenants; empty: of one tenant alone.
    environment: str = ""
    #: Of one tenant alone; 0: of a log for all tenants, which goes on over a tenant's time-lines.
    timeline: int = 0

    def place(self) -> str:
        """Part of object names, equal for equal lines only."""
        whose = f"e-{_escaped(self.environment)}" if self.environment else f"t-{self.timeline:06d}"
        return f"{whose}/{_escaped(self.store)}"


def _escaped(name: str) -> str:
    """Letters, digits and ``-`` as they are, every other byte of the UTF-8 as ``_`` and two hex digits."""
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
    return "".join(
        chr(byte) if byte in kept else f"_{byte:02x}" for byte in name.encode("utf-8", "surrogatepass")
    )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Everything of the line that is behind ``after`` and not behind ``through``; times are microseconds since 1970.

    What happened from ``from_us`` to ``through_us``, both included, has its position in here.
    """

    after: int
    through: int
    from_us: int
    through_us: int

    @classmethod
    def of(cls, covered: Covered) -> Stretch:
        return cls(covered.from_position, covered.through_position, covered.from_us, covered.through_us)

    def covered(self, line: Line, timeline: int) -> Covered:
        return Covered(line.store, timeline, self.after, self.through, self.from_us, self.through_us)


@dataclass(frozen=True, slots=True)
class Content:
    """What frames are there, in numbers."""

    frames: int = 0
    ops: int = 0
    #: Positions and times of the first and last; 0 if there are none.
    first: int = 0
    last: int = 0
    first_us: int = 0
    last_us: int = 0
    #: Operations after which something is not known, or may not be: `Unknown` and `Reshape`.
    unsure: int = 0

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Content:
        if not frames:
            return cls()
        times = [frame.at_us for frame in frames]
        unsure = sum(isinstance(op, Unknown | Reshape) for frame in frames for op in frame.ops)
        ops = sum(len(frame.ops) for frame in frames)
        return cls(len(frames), ops, frames[0].position, frames[-1].position, min(times), max(times), unsure)


@dataclass(frozen=True, slots=True)
class Heading:
    """What an object of the log says about itself."""

    line: Line
    #: Of the line's objects, from 1.
    number: int
    stretch: Stretch
    content: Content
    #: SHA-256 of the bytes of the object before it, hex; empty for the first.
    previous: str

    def written(self) -> bytes:
        return json.dumps({"format": 1, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def read(cls, name: str, written: bytes) -> Heading:
        """Raises `RepositoryDamaged` if it is none."""
        try:
            told = json.loads(written)
            heading = cls(
                Line(**told["line"]), int(told["number"]), Stretch(**told["stretch"]),
                Content(**told["content"]), str(told["previous"]),
            )  # fmt: skip
            if heading.written() == written:
                return heading
        except (ValueError, KeyError, TypeError) as exc:
            raise RepositoryDamaged(f"{name}: its heading makes no sense") from exc
        raise RepositoryDamaged(f"{name}: its heading is not in the form that is written")
