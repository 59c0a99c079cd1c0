"""Vectors of texts without a model: every word adds to one of a few numbers (the hashing trick).

The same text gives the same vector on every machine. All numbers are whole, so they are exact as float32
and print alike everywhere.
"""

from __future__ import annotations

import hashlib
import re

DIMENSIONS = 32
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def embed(text: str) -> list[float]:
    """A vector of `DIMENSIONS` whole numbers, never all zero."""
    vector = [0.0] * DIMENSIONS
    for word in _WORD.findall(text.lower()):
        digest = hashlib.blake2b(word.encode(), digest_size=2).digest()
        vector[digest[0] % DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    if not any(vector):
        vector[0] = 1.0
    return vector


def cut(text: str, size: int = 400) -> list[str]:
    """Pieces of whole sentences, each of about ``size`` characters at most; at least one."""
    pieces = [""]
    for sentence in _SENTENCE_END.split(text.strip()):
        if pieces[-1] and len(pieces[-1]) + len(sentence) >= size:
            pieces.append(sentence)
        else:
            pieces[-1] = f"{pieces[-1]} {sentence}".strip()
    return pieces
