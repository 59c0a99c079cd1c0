"""Traps of erasing, each laid twice on servers that run here, and what a naive deletion and ours leave of it.

A run that is not quick writes ``docs/residue.md``, which nobody edits by hand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.report import Budget, Figure, Report
from bench.residue import analytic_traps, keyed_traps, object_traps, row_traps, rows
from bench.residue.page import page
from bench.residue.trap import Row, Trap, measured
from tenant_lifecycle.sandbox.guardian import ending_with_us

PAGE = Path(__file__).parents[2] / "docs" / "residue.md"
#: Rows, keys or entries of the tenant in each trap.
SIZE, SMALL = 200, 10


def run(quick: bool, show: Callable[[str], None]) -> Report:
    """Run every trap; the figure is how many are left behind without a word."""
    seen = measured_all(SMALL if quick else SIZE, 1.0 if quick else 60.0, show)
    if not quick:
        PAGE.write_text(page(seen))
    ran = [row for row in seen if row.naive is not None and row.ours is not None]
    ours = sum(row.ours.unreported for row in ran if row.ours is not None)
    naive = sum(row.naive.unreported for row in ran if row.naive is not None)
    figure = Figure(
        "left behind and not reported", "traps", ours, naive, "naive deletion", "lower", (Budget("value", "at most", 0),)
    )  # fmt: skip
    return Report(
        "residue", (figure,), {"traps": len(seen), "run": len(ran), "rows": [_said(row) for row in seen]}
    )


def measured_all(size: int, patience_s: float, show: Callable[[str], None]) -> list[Row]:
    """Every trap in the order of the page; old parts are waited for so many seconds."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-residue-") as name, ending_with_us():
        folder = Path(name)
        folder.chmod(0o755)
        for system in _systems(folder, size, patience_s):
            with system as traps:
                for trap in traps:
                    found.append(measured(trap))
                    show(f"{trap.code} {trap.system}, {trap.what}: {_said(found[-1])['ours']}")
    return found


def _systems(folder: Path, size: int, patience_s: float) -> Iterator[AbstractContextManager[list[Trap]]]:
    yield _postgres(folder, size)
    yield _redis(folder, size)
    yield keyed_traps.vectors()
    yield _cloud(folder)
    yield analytic_traps.analytics(folder, size, patience_s)


@contextmanager
def _postgres(folder: Path, size: int) -> Iterator[list[Trap]]:
    with rows.served(folder, size) as served:
        yield row_traps.traps(served)


@contextmanager
def _redis(folder: Path, size: int) -> Iterator[list[Trap]]:
    with keyed_traps.caches(folder, size) as made:
        yield keyed_traps.traps(made)


@contextmanager
def _cloud(folder: Path) -> Iterator[list[Trap]]:
    with object_traps.cloud(folder) as made:
        yield object_traps.traps(made)


def _said(row: Row) -> dict[str, str]:
    why = f"not run: {row.trap.why}"
    return {
        "trap": row.trap.code,
        "system": row.trap.system,
        "naive": why if row.naive is None else row.naive.in_words(),
        "ours": why if row.ours is None else row.ours.in_words(),
    }
