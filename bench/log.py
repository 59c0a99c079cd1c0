"""How fast the change log is written, read, and folded over a base, in rows a second of one core.

The peer of writing and reading is `pickle` and zstd: the same rows, neither encrypted nor bound to their place. The
peer of folding is a dictionary of whole rows in memory, which has no limit to its memory, keeps no unchanged cells and
proves nothing. Timed by the processor time of this process, because the machine may be busy.
"""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Callable, Iterator, Sequence

import zstandard

from bench.report import Budget, Figure, Report
from tenant_lifecycle.backups.log.segment import frames_of, seal
from tenant_lifecycle.backups.log.stretch import Content, Heading, Line, Stretch
from tenant_lifecycle.backups.moments.cut import Cut
from tenant_lifecycle.backups.moments.fold import Folded
from tenant_lifecycle.backups.moments.replay import replay
from tenant_lifecycle.backups.sealing import Kind, Sealer
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import UNCHANGED, Frame, Item, Upsert
from tenant_lifecycle.model.backup.manifest import SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot

#: Each side is measured so often, in turn; the best counts.
ROUNDS = 3
SHAPE = Shape("public.documents", tuple(Column(f"c{number}", "text") for number in range(9)), ("c0",))
NAME = "t/bench/log/1.seg"


class _Keys:
    """One data key."""

    def current(self) -> int:
        return 1

    def data(self, epoch: int) -> bytes:
        return bytes([epoch]) * 32


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    rows, changes = (2_000, 1_000) if quick else (200_000, 50_000)
    made = random.Random(7)
    frames = [_frame(made, number, rows) for number in range(changes // 5)]
    figures = [*_written(frames, changes, progress), *_folded(frames, rows, changes, progress)]
    return Report("log", tuple(figures))


def _frame(made: random.Random, number: int, rows: int) -> Frame:
    """One transaction with five rows, some 300 bytes each; the long value is sent every second time."""
    return Frame(
        number * 100, number, tuple(_row(made, made.randrange(rows)) for _ in range(5)), 1_000 + number
    )


def _row(made: random.Random, key: int) -> Upsert:
    long = UNCHANGED if made.random() < 0.5 else made.randbytes(60).hex().encode() * 2
    stamp = b"2026-11-24 10:00:00.%06d+00" % made.randrange(10**6)
    return Upsert(
        SHAPE.set, b"%08d" % key,
        (b"%08d" % key, b"tenant-1", b"A title of medium length", stamp, stamp, None, b"t", b"0.25", long),
    )  # fmt: skip


def _written(frames: Sequence[Frame], rows: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    sealer = Sealer(_Keys(), bytes(16), bytes(32))
    heading = Heading(Line("postgres", "blue"), 1, Stretch(0, 1 << 40, 0, 1 << 40), Content.of(frames), "")
    sealed = seal(sealer, NAME, heading, frames)
    packed = _packed(frames)
    progress(f"{rows} rows: {len(sealed)} bytes sealed, {len(packed)} pickled and compressed")
    ours, peer = _alternating(lambda: seal(sealer, NAME, heading, frames), lambda: _packed(frames))
    yield Figure("write", "rows/s", rows / ours, rows / peer, "pickle and zstd, in clear", "higher",
                 (Budget("value", "at least", 20_000),))  # fmt: skip
    ours, peer = _alternating(
        lambda: frames_of(sealer, Kind.SEGMENT, NAME, sealed), lambda: _unpacked(packed)
    )
    yield Figure("read", "rows/s", rows / ours, rows / peer, "pickle and zstd, in clear", "higher")


def _packed(frames: Sequence[Frame]) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(pickle.dumps(frames))


def _unpacked(packed: bytes) -> object:
    return pickle.loads(zstandard.ZstdDecompressor().decompress(packed))


def _folded(
    frames: Sequence[Frame], rows: int, changes: int, progress: Callable[[str], None]
) -> Iterator[Figure]:
    base = [Item(SHAPE.set, b"%08d" % key, (b"%08d" % key, *[b"value"] * 8)) for key in range(rows)]
    stored = SetStored(SHAPE, Fingerprint(), 0, 0)
    store = StoreBase("postgres", 0, 0, Snapshot(1, 1, frozenset(), 0), {SHAPE.set: stored})
    progress(f"fold {changes} changes over {rows} rows")

    def fold() -> int:
        folds = replay(store, frames, Cut(1 << 60)).sets
        return sum(1 for _ in Folded(SHAPE.set, folds[SHAPE.set], lambda: base, Fingerprint()).items())

    ours, peer = _alternating(fold, lambda: _naive(base, frames))
    both = rows + changes
    yield Figure("fold", "rows/s", both / ours, both / peer, "a dictionary of whole rows", "higher")


def _naive(base: Sequence[Item], frames: Sequence[Frame]) -> list[object]:
    state = {item.key: item.cells for item in base}
    for frame in frames:
        for op in frame.ops:
            if isinstance(op, Upsert):
                state[op.key] = op.cells  # type: ignore[assignment]
    return [state[key] for key in sorted(state)]


def _alternating(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Seconds of both."""
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for place, work in enumerate((ours, peer)):
            began = time.process_time()
            work()
            best[place] = min(best[place], time.process_time() - began)
    return best[0], best[1]
