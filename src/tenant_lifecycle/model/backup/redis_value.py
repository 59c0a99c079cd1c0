"""A value of Redis in one form, whatever version or encoding it has: a header, and records of words.

Equal forms mean equal values: what has no order (members of a set, fields of a hash) is sorted, scores are 64-bit
floats, and expiry is a moment. A string is its bytes; a value of a module's type is the server's own dump, which
only servers understand that have the module and are not older.

Records by type: list and set ``(element)``, hash ``(field, value)``, zset ``(score, member)``, stream
``(last, id)``, ``(entry, id, field, value, ...)``, ``(group, name, id)``, ``(consumer, name)`` and
``(pending, id, consumer, deliveries)``; when something was delivered last is not kept.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Record = tuple[bytes, ...]
#: Types whose records are sorted.
UNORDERED = frozenset({"set", "hash"})
#: Types whose content is records; a string's is its bytes, and every other type's is a dump.
RECORDED = frozenset({"list", "set", "hash", "zset", "stream"})


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a value's content."""

    #: As TYPE says it.
    kind: str
    #: Milliseconds since 1970; None: it does not expire.
    expiry_ms: int | None = None

    @property
    def dumped(self) -> bool:
        return self.kind != "string" and self.kind not in RECORDED

    def written(self) -> bytes:
        return json.dumps({"expiry": self.expiry_ms, "kind": self.kind}, sort_keys=True).encode()

    @classmethod
    def read(cls, header: bytes) -> Header:
        """Raises `ValueError` if it is none."""
        try:
            told = json.loads(header)
            return cls(str(told["kind"]), None if told["expiry"] is None else int(told["expiry"]))
        except (KeyError, TypeError) as exc:
            raise ValueError("no header of a value of Redis") from exc


def packed(record: Sequence[bytes]) -> bytes:
    """A record as bytes: how many words, then each with its length, all lengths in 4 bytes."""
    words = b"".join(len(word).to_bytes(4, "big") + word for word in record)
    return len(record).to_bytes(4, "big") + words


def unpacked(pieces: Iterable[bytes]) -> Iterator[Record]:
    """Records out of content that comes in pieces of any size.

    Raises:
        ValueError: it ends in the middle of a record.
    """
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        at = 0
        while (end := _end(buffer, at)) is not None:
            yield _words(buffer, at)
            at = end
        del buffer[:at]
    if buffer:
        raise ValueError("records that end too early")


def _end(buffer: bytearray, at: int) -> int | None:
    """Where the record that begins here ends; None: not all of it is there."""
    if len(buffer) < at + 4:
        return None
    end = at + 4
    for _ in range(int.from_bytes(buffer[at:end], "big")):
        if len(buffer) < end + 4:
            return None
        end += 4 + int.from_bytes(buffer[end : end + 4], "big")
    return end if end <= len(buffer) else None


def _words(buffer: bytearray, at: int) -> Record:
    words: list[bytes] = []
    start = at + 4
    for _ in range(int.from_bytes(buffer[at:start], "big")):
        end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
        words.append(bytes(buffer[start + 4 : end]))
        start = end
    return tuple(words)


def score(text: bytes) -> bytes:
    """A score as the server writes it, in one form: a 64-bit float."""
    return struct.pack(">d", float(text))


def score_text(packed_score: bytes) -> bytes:
    """A score as a server reads it, exactly."""
    (value,) = struct.unpack(">d", packed_score)
    return repr(value).encode()
