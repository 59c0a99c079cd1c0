"""The ledger of a load: what every writer did and what it was told, appended line by line.

One file per writer, ``<writer>.jsonl``. A line ``begin`` stands before the write goes out and says what must
be true if it is committed; a line with the same ``seq`` and an ``outcome`` follows when the answer is there.
A ``begin`` without an outcome (the load itself was killed) counts as unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType


class Outcome(StrEnum):
    """What the writer was told."""

    ACK = "ack"
    #: Certainly not committed.
    FAILED = "failed"
    #: The connection broke in the COMMIT: there once, or not at all.
    UNKNOWN = "unknown"


class Do(StrEnum):
    """What an effect says about the rows under its key."""

    #: Exactly one row, with at least these values.
    PUT = "put"
    #: No row.
    GONE = "gone"
    #: A number grew by ``count`` (or shrank): a counter, or how many equal rows there are. Any writer may add.
    ADD = "add"
    #: Nothing, or an item with these values: something that may be forgotten, but not be wrong (a cached answer).
    MAY = "may"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that is true after a write is committed; keys and values are the text forms of
    `tenant_lifecycle.sandbox.facts` (rows) and `tenant_lifecycle.sandbox.items` (items of other stores)."""

    do: Do
    table: str
    key: dict[str, str]
    values: Mapping[str, str | None] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One write."""

    tenant: str
    writer: int
    #: From 1 on without gaps; 0 is the claim: rows that the writer found and owns from then on.
    seq: int
    kind: str
    #: Seconds since 1970 when it was begun.
    began: float
    effects: tuple[Effect, ...]
    outcome: Outcome = Outcome.UNKNOWN
    #: None while there was no answer.
    latency_ms: float | None = None
    error: str = ""
    #: How often it was sent: a client sends again when its connection broke.
    attempts: int = 1

    @property
    def ended(self) -> float | None:
        """Seconds since 1970 when the answer came."""
        return None if self.latency_ms is None else self.began + self.latency_ms / 1000


class LedgerWriter:
    """Appends one writer's entries; every line is handed to the system before the call returns."""

    def __init__(self, folder: Path, tenant: str, writer: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{writer}.jsonl").open("x", encoding="utf-8")
        self._tenant = tenant
        self._writer = writer

    def begin(self, seq: int, kind: str, effects: Iterable[Effect]) -> None:
        """The write goes out now."""
        line = {
            "seq": seq,
            "tenant": self._tenant,
            "writer": self._writer,
            "kind": kind,
            "began": time.time(),
            "effects": [asdict(effect) for effect in effects],
        }
        self._append(line)

    def end(
        self,
        seq: int,
        outcome: Outcome,
        latency_ms: float,
        error: str = "",
        *,
        attempts: int = 1,
        learned: Iterable[Effect] = (),
    ) -> None:
        """The answer is there; ``learned``: effects that only the answer told."""
        line: dict[str, object] = {
            "seq": seq,
            "outcome": outcome,
            "latency_ms": round(latency_ms, 3),
            "error": error,
        }
        if attempts != 1:
            line["attempts"] = attempts
        effects = [asdict(effect) for effect in learned]
        self._append({**line, "learned": effects} if effects else line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


def read_ledger(folder: Path) -> Iterator[Entry]:
    """Every entry of every writer, one writer after the other, each in its order.

    A last line that was cut off in the middle is left out: its writer was killed while it wrote it.
    """
    for path in sorted(folder.glob("*.jsonl")):
        begun: dict[str, object] | None = None
        for line in _lines(path):
            if "effects" in line:
                if begun is not None:
                    yield _entry(begun, {})
                begun = line
            elif begun is not None:
                yield _entry(begun, line)
                begun = None
        if begun is not None:
            yield _entry(begun, {})


def _lines(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _entry(begun: dict[str, object], ended: dict[str, object]) -> Entry:
    raw, learned = begun.pop("effects"), ended.get("learned", [])
    assert isinstance(raw, list) and isinstance(learned, list)
    effects = tuple(Effect(**{**effect, "do": Do(effect["do"])}) for effect in [*raw, *learned])
    return Entry(
        **begun,  # type: ignore[arg-type]
        effects=effects,
        outcome=Outcome(str(ended.get("outcome", Outcome.UNKNOWN))),
        latency_ms=ended.get("latency_ms"),  # type: ignore[arg-type]
        error=str(ended.get("error", "")),
        attempts=int(str(ended.get("attempts", 1))),
    )
