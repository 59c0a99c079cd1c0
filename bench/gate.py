"""How fast the leak gate reads a clone: every one of 100,000 values of the source, in every spelling.

The peer is the search of the note that this follows: words of the text, one to four in a row, looked up in a set of
keyed digests; it knows neither encodings nor glued words. Both look for the same values in the same prose, with 200 of
them planted; timed by the processor time of this process.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable

from bench.report import Budget, Figure, Report
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.masking.structure import Detectors
from tenant_lifecycle.masking.sweep import Sweep
from tenant_lifecycle.sandbox.text import Writer

PLANTED = 200
_KEY = b"k" * 32


def run(quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure; ``quick`` only shows that it runs."""
    values, texts, planted = _corpus(2_000 if quick else 100_000, 60 if quick else 1_500)
    size = sum(map(len, texts)) / 1e6
    progress(f"{len(values)} values, {size:.1f} MB")
    sweep = Sweep()
    handles = {value: sweep.learn("name", value) for value in values}
    sweep.seal()
    found: set[str] = set()

    def ours() -> None:
        for text in texts:
            found.update(hit.handle for hit in sweep.look(text))

    digests = {_digest(value.lower()) for value in values}
    detectors = Detectors(Target("acme", "copy"))
    speeds = [
        size / _seconds(work)
        for work in (
            ours,
            lambda: _shingles(texts, digests),
            lambda: [list(detectors.look(t)) for t in texts],
        )
    ]
    missed = sum(1 for value in planted if (hit := handles[value]) is None or hit.handle not in found)
    return Report(
        "gate",
        (
            Figure("sweep for every value of the source", "MB/s", speeds[0], speeds[1], "digests of one to four words", "higher",
                   (Budget("ratio", "at least", 2),)),
            Figure("planted values missed", "values", float(missed), None, "200 planted", "lower", (Budget("value", "at most", 0),)),
            Figure("forms with checksums", "MB/s", speeds[2], None, "no peer", "higher"),
        ),
        {"values": len(values), "MB": round(size, 2), "others found": len(found) - (PLANTED - missed)},
    )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return max(time.process_time() - began, 1e-9)


def _shingles(texts: list[str], digests: set[bytes]) -> int:
    hits = 0
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        for at in range(len(words)):
            hits += sum(_digest(" ".join(words[at : at + many])) in digests for many in range(1, 5))
    return hits


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), key=_KEY, digest_size=8).digest()


def _corpus(count: int, documents: int) -> tuple[list[str], list[str], list[str]]:
    """Names, texts of about 8 kB, and which names stand in them."""
    chance = random.Random(3)
    writer = Writer(chance)
    values = [f"{writer.person()[0].split()[0]} {_word(chance)}{_word(chance).lower()}" for _ in range(count)]
    values = list(dict.fromkeys(values))
    planted = chance.sample(values, PLANTED)
    texts = [writer.text(6) for _ in range(documents)]
    for number, value in enumerate(planted):
        at = number % documents
        texts[at] = f"{texts[at]} As {value} said."
    return values, texts, planted


def _word(chance: random.Random) -> str:
    return "".join(
        chance.choices("bcdfgklmnprstvz", k=1)
        + chance.choices("aeiou", k=1)
        + chance.choices("bcdfgklmnprstvz", k=2)
    ).capitalize()
