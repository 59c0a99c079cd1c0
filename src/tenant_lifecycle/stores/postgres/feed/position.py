"""Positions in a write-ahead log, as numbers and as PostgreSQL writes them."""

from __future__ import annotations


def from_lsn(text: str) -> int:
    """``16/B374D848`` as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def to_lsn(position: int) -> str:
    """A number as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
