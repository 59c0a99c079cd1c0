"""How fast the repository takes rows and gives them back, against the least that could be done with the same bytes.

The peer is one loop: rows joined, compressed with the same zstd, encrypted with the same AES-256-GCM, in blocks of 1 MiB.
It knows no keys, no order, no fingerprints, no ids and no index, and cannot give back one row. Both are timed by the
processor time of this process, on a memory disk where there is one.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.report import Budget, Figure, Report
from tenant_lifecycle.backups.chunks import cut
from tenant_lifecycle.backups.keys import LocalWrapping
from tenant_lifecycle.backups.repository import Repository, TenantBackups
from tenant_lifecycle.backups.sealing import Kind
from tenant_lifecycle.backups.storage_folder import FolderStorage
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TenantId

ROWS, ROUNDS, BLOCK = 60_000, 3, 1 << 20
NOTES = Shape(
    "public.notes", (Column("id", "bigint"), Column("title", "text"), Column("body", "text")), ("id",)
)
_BARE = "zstd-3 and AES-GCM alone"


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    items = _items(1_000 if quick else ROWS)
    rows_bytes = sum(len(cell) for item in items for cell in item.cells if cell)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-bench-", dir=memory) as name:
        storage = FolderStorage.create(Path(name) / "repository")
        part = Repository.create(storage, LocalWrapping(os.urandom(32))).tenant(TenantId("bench"))
        part.prepare()
        blocks = [bytes(block) for block in _blocks(items)]
        bare = [_seal_bare(block) for block in blocks]
        sealed = part.place.sealer.seal(Kind.REPORT, "bench", blocks)
        base = _write(part, items)
        sides: dict[str, tuple[int, Callable[[], object], Callable[[], object] | None]] = {
            "write a base": (rows_bytes, lambda: _write(part, items), lambda: [_seal_bare(one) for one in _blocks(items)]),
            "read a base": (rows_bytes, lambda: _read(part, base), lambda: [_open_bare(one) for one in bare]),
            "seal blocks": (rows_bytes, lambda: part.place.sealer.seal(Kind.REPORT, "bench", blocks), lambda: [_seal_bare(one) for one in blocks]),
            "open blocks": (rows_bytes, lambda: part.place.sealer.open(Kind.REPORT, "bench", sealed), lambda: [_open_bare(one) for one in bare]),
        }  # fmt: skip
        figures = []
        for what, (size, ours, peer) in sides.items():
            progress(what)
            best_ours, best_peer = _alternating(ours, peer)
            budgets = (Budget("ratio", "at least", 0.7),) if "blocks" in what else ()
            figures.append(Figure(what, "MB/s", size / best_ours / 1e6, size / best_peer / 1e6, _BARE, "higher", budgets))  # fmt: skip
        figures.append(_chunking(quick))
    rate = len(items) * figures[0].ours * 1e6 / rows_bytes
    return Report("sealing", tuple(figures), {"rows": len(items), "rows_per_s": round(rate)})


def _alternating(ours: Callable[[], object], peer: Callable[[], object] | None) -> tuple[float, float]:
    """Least seconds of each side."""
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for side, work in enumerate((ours, peer)):
            if work is not None:
                began = time.process_time()
                work()
                best[side] = min(best[side], max(time.process_time() - began, 1e-9))
    return best[0], best[1]


def _chunking(quick: bool) -> Figure:
    data = random.Random(3).randbytes((2 if quick else 32) << 20)
    seconds, _ = _alternating(lambda: list(cut(b"k" * 32, data)), None)
    return Figure(
        "cut large cells", "MB/s", len(data) / seconds / 1e6, None, "no packaged peer takes a key", "higher"
    )


def _items(count: int) -> list[Item]:
    dice = random.Random(7)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(5_000)]
    return [
        Item(NOTES.set, b"%d" % number, (b"%d" % number, dice.choice(words).encode(), " ".join(dice.choices(words, k=dice.randint(10, 60))).encode()))
        for number in range(count)
    ]  # fmt: skip


def _blocks(items: list[Item]) -> list[bytes]:
    text = b"\n".join(b"\t".join(filter(None, item.cells)) for item in items)
    return [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)]


def _write(part: TenantBackups, items: list[Item]) -> Manifest:
    # A new key epoch, or nothing would be stored again.
    part.place.keys.rotate()
    writer = part.begin_base("bench", BaseKind.FULL, None, {})
    stored = writer.add("postgres", NOTES, items)
    return writer.commit({"postgres": StoreBase("postgres", 1, 1, None, {NOTES.set: stored})}, 1, None)


def _read(part: TenantBackups, base: Manifest) -> int:
    return sum(1 for _ in part.items(base, "postgres", NOTES.set))


_CIPHER = AESGCM(bytes(range(32)))


def _seal_bare(block: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + _CIPHER.encrypt(nonce, zstandard.ZstdCompressor(level=3).compress(block), None)


def _open_bare(sealed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(_CIPHER.decrypt(sealed[:12], sealed[12:], None))
