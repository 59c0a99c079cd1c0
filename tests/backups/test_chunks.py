"""Chunks: what was inserted moves no cut behind it, and nothing is lost or added."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_lifecycle.backups import chunks
from tenant_lifecycle.backups.chunks import LEAST, MOST, WANTED, cut
from tenant_lifecycle.backups.rows import Chunks, Record, decode, encode, read_varint, varint
from tenant_lifecycle.errors import RepositoryDamaged

KEY = b"k" * 32
DATA = random.Random(5).randbytes(24 << 20)


def slow_cuts(key: bytes, data: bytes) -> list[int]:
    """By the definition, one byte after the other."""
    gear = [int(one) for one in chunks._gear(key)]
    found, begin, value = [], 0, 0
    for at, byte in enumerate(data):
        value = ((value << 1) + gear[byte]) % 2**64
        size = at + 1 - begin
        rare, often = not value >> 42, not value >> 46
        if size >= LEAST and (size == MOST or rare or (often and size >= WANTED)):
            found.append(at + 1)
            begin = at + 1
    return [*found, len(data)] if not found or found[-1] != len(data) else found


def test_chunks_are_the_data_in_pieces_of_the_promised_sizes() -> None:
    pieces = list(cut(KEY, DATA))
    assert b"".join(pieces) == DATA
    assert all(LEAST <= len(piece) <= MOST for piece in pieces[:-1])
    assert WANTED / 2 < len(DATA) / len(pieces) < WANTED * 2


def test_all_positions_at_once_are_the_positions_one_by_one() -> None:
    data = DATA[: 5 << 20]
    ends, at = [], 0
    for piece in cut(KEY, data):
        at += len(piece)
        ends.append(at)
    # The hash of the first 63 bytes of the data is of fewer bytes, in both.
    assert ends == slow_cuts(KEY, data)


def test_what_is_inserted_in_front_moves_few_chunks() -> None:
    before = set(cut(KEY, DATA))
    for more in (b"!", DATA[:1000], bytes(70_000)):
        after = list(cut(KEY, more + DATA))
        assert sum(piece not in before for piece in after) <= 3


def test_another_key_cuts_elsewhere() -> None:
    assert not set(cut(KEY, DATA)) & set(cut(b"l" * 32, DATA))


@pytest.mark.parametrize("data", [b"", b"x", bytes(LEAST), bytes(9 << 20), b"ab" * (3 << 20)])
def test_data_that_offers_no_cut_is_cut_all_the_same(data: bytes) -> None:
    pieces = list(cut(KEY, data))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= MOST for piece in pieces)


cells = st.one_of(
    st.none(),
    st.binary(max_size=300),
    st.lists(st.binary(min_size=32, max_size=32)).map(lambda one: Chunks(tuple(one))),
)
records = st.builds(
    Record, st.binary(max_size=200), st.integers(0, 1 << 60), st.lists(cells, max_size=6).map(tuple)
)


@settings(deadline=None)
@given(st.lists(records, max_size=8))
def test_records_come_back_as_they_were(some: list[Record]) -> None:
    block = b"\x01" + b"".join(map(encode, some))
    assert list(decode("name", block)) == some
    for end in range(1, len(block)):
        try:
            found = list(decode("name", block[:end]))
        except RepositoryDamaged:
            continue
        assert found == some[: len(found)]


@given(st.integers(0, 1 << 70))
def test_numbers_come_back(number: int) -> None:
    assert read_varint(b"x" + varint(number) + b"y", 1) == (number, 1 + len(varint(number)))
