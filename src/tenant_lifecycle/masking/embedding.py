"""Vectors made anew from masked text; those of the source are never copied, because text can be read out of them."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import struct
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from tenant_lifecycle.errors import ConfigError, StoreError
from tenant_lifecycle.masking.folding import tokens_of

#: Entry points of embedders: callables that give an `Embedder`.
GROUP = "tenant_lifecycle.embedders"


class Embedder(Protocol):
    """Makes vectors of text; deterministic."""

    #: As the clone's manifest says it.
    name: str

    def __call__(self, text: str, dimensions: int) -> Sequence[float]:
        """A vector of so many numbers."""


class HashingEmbedder:
    """Words hashed to places, normalised to length 1: no model, so neighbours share words and not meaning."""

    name = "hashing-1"

    def __call__(self, text: str, dimensions: int) -> Sequence[float]:
        values = [0.0] * dimensions
        for word in tokens_of(text) or [""]:
            digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
            place = int.from_bytes(digest, "big")
            values[place % dimensions] += 1.0 if place >> 63 else -1.0
        length = math.sqrt(sum(value * value for value in values))
        if not length:
            return [1.0, *[0.0] * (dimensions - 1)]
        return [value / length for value in values]


class CommandEmbedder:
    """A program that reads ``{"text": ..., "dimensions": ...}`` on a line and answers ``[0.1, ...]`` on one."""

    def __init__(self, command: Sequence[str]) -> None:
        self.name = f"command:{Path(command[0]).name}"
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, text: str, dimensions: int) -> Sequence[float]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(json.dumps({"text": text, "dimensions": dimensions}) + "\n")
            stdin.flush()
            vector = json.loads(stdout.readline() or "null")
        except (OSError, ValueError) as exc:
            raise self._error("gave no answer that can be read") from exc
        if not isinstance(vector, list) or len(vector) != dimensions or not all(map(_is_number, vector)):
            raise self._error(f"gave no vector of {dimensions} numbers")
        return [float(value) for value in vector]

    def close(self) -> None:
        """End the program."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self._process.terminate()
        self._process.wait()

    def _error(self, message: str) -> StoreError:
        return StoreError(
            f"the embedder {self.name} {message}", store=self.name,
            next_step="run the command by hand with one line of JSON",
        )  # fmt: skip


def vector_digest(vector: Sequence[float]) -> int:
    """64 bits that are equal for vectors that are equal as 32-bit floats."""
    content = struct.pack(f"<{len(vector)}f", *vector)
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def embedder(name: str) -> Embedder:
    """``hashing``, or one that a package brings.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == "hashing":
        return HashingEmbedder()
    for point in entry_points(group=GROUP, name=name):
        made: Embedder = point.load()()
        return made
    raise ConfigError(
        f"no embedder is called {name!r}", next_step=f"install a package with an entry point in {GROUP!r}"
    )


class Shelf:
    """Vectors by the place they were made for, on disk, for stores that hold the same vector beside the text."""

    def __init__(self) -> None:
        """A file of SQLite's own that is gone with it; it holds nothing that the clone does not."""
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA synchronous = off")
        self._db.execute("PRAGMA journal_mode = off")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS vectors (place TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID"
        )

    def put(self, place: Sequence[str | None], vector: Sequence[float]) -> None:
        """Keep the vector of a place, in single precision."""
        content = struct.pack(f"<{len(vector)}f", *vector)
        self._db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (_place(place), content))

    def get(self, place: Sequence[str | None]) -> Sequence[float] | None:
        """None: nothing was made for it."""
        with closing(
            self._db.execute("SELECT content FROM vectors WHERE place = ?", (_place(place),))
        ) as rows:
            row = rows.fetchone()
        return None if row is None else struct.unpack(f"<{len(row[0]) // 4}f", row[0])

    def close(self) -> None:
        """The file is deleted."""
        self._db.close()


def _place(place: Sequence[str | None]) -> str:
    return json.dumps(list(place))
