"""How fast a search for residue reads: rows one by one, blocks of a file, JSON, and packed values.

The peer is the loop that one writes first: every spelling of every identifier, `in` every value. It gets the same
spellings, decodes nothing, and knows no neighbours and no boundaries, so it does less and finds less. Both are timed by
the processor time of this process: they run on one core, and the machine may be busy.
"""

from __future__ import annotations

import gzip
import json
import random
import time
import uuid
from collections.abc import Callable, Sequence

from bench.report import Budget, Figure, Report
from tenant_lifecycle.model.erasure.identifiers import found, identifiers_of
from tenant_lifecycle.model.erasure.spellings import spellings
from tenant_lifecycle.model.names import TenantId

BLOCK = 64 * 1024
#: Each side is measured so often, in turn.
ROUNDS = 3


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    made = random.Random(7)
    rows = _rows(made, 200 if quick else 2_000)
    text = b"".join(rows)
    shapes: dict[str, Sequence[bytes]] = {
        "rows": rows,
        "blocks of 64 KiB": [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)],
        "rows as JSON": [json.dumps({"text": row.decode()}).encode() for row in rows],
        "packed values": [gzip.compress(b"".join(rows[at : at + 20])) for at in range(0, len(rows), 20)],
    }
    tenant, control = TenantId(str(uuid.UUID(int=made.getrandbits(128)))), TenantId("acceptance-tests")
    identifiers = identifiers_of(
        tenant, ["Example Corporation", "example.test"], ["tlcanary5f0f7a3e9f1b4a528c1d2f0e"]
    )
    recogniser = found(identifiers, identifiers_of(control))
    patterns = [spelling.pattern for one in identifiers.all for spelling in spellings(one)]
    figures = []
    for name, values in shapes.items():
        progress(f"{name}: {len(values)} values, {len(patterns)} spellings")
        ours, naive = _alternating(
            values, recogniser, lambda value: [one for one in patterns if one in value]
        )
        budgets = (Budget("ratio", "at least", 0.5),) if name.startswith("blocks") else ()
        figures.append(
            Figure(
                name, "MB/s", ours, naive, "in, per spelling and value; decodes nothing", "higher", budgets
            )
        )
    return Report("scan", tuple(figures))


def _alternating(
    values: Sequence[bytes], ours: Callable[[bytes], object], naive: Callable[[bytes], object]
) -> tuple[float, float]:
    """Best MB/s of each side."""
    best = [0.0, 0.0]
    for _ in range(ROUNDS):
        for side, look in enumerate((ours, naive)):
            best[side] = max(best[side], _speed(values, look))
    return best[0], best[1]


def _speed(values: Sequence[bytes], look: Callable[[bytes], object]) -> float:
    began = time.process_time()
    for value in values:
        look(value)
    return sum(map(len, values)) / max(time.process_time() - began, 1e-9) / 1e6


def _rows(made: random.Random, count: int) -> list[bytes]:
    """As a table of documents comes out of COPY: ids, a text, some JSON, a short vector."""
    words = ["".join(made.choices("abcdefghijklmnopqrstuvwxyz", k=made.randint(2, 10))) for _ in range(5000)]
    return [
        "\t".join(
            (
                str(uuid.UUID(int=made.getrandbits(128))), str(made.randint(1, 10**9)), " ".join(made.choices(words, k=60)),
                json.dumps({"id": str(uuid.UUID(int=made.getrandbits(128))), "n": 1}),
                json.dumps([round(made.random(), 6) for _ in range(20)]),
            )
        ).encode()
        + b"\n"
        for _ in range(count)
    ]  # fmt: skip
