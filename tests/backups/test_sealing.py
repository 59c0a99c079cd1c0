"""What was sealed opens as it was, in its place, with its key; or not at all."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.backups.sealing import (
    Kind,
    Sealer,
    blocks_of,
    pack_plain,
    padded,
    read_header,
    unpack_plain,
)
from tenant_lifecycle.errors import KeyUnavailable, RepositoryDamaged

REPOSITORY, TENANT = bytes(16), b"t" * 32


class Keys:
    """Data keys by epoch."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = keys

    def current(self) -> int:
        return len(self.keys)

    def data(self, epoch: int) -> bytes:
        if not 1 <= epoch <= len(self.keys):
            raise KeyUnavailable(f"no epoch {epoch}", where="here")
        return self.keys[epoch - 1]


SEALER = Sealer(Keys(b"k" * 32), REPOSITORY, TENANT)
BLOCKS = [b"one " * 100, b"", os.urandom(300)]


def test_an_object_opens_as_it_was_sealed() -> None:
    data = SEALER.seal(Kind.SEGMENT, "t/x/log/1", BLOCKS, clear=b"positions")
    assert SEALER.open(Kind.SEGMENT, "t/x/log/1", data) == BLOCKS
    assert SEALER.open(Kind.SEGMENT, "n", SEALER.seal(Kind.SEGMENT, "n", [])) == [b""]


def test_the_header_can_be_read_without_a_key() -> None:
    header, _ = read_header("x", SEALER.seal(Kind.SEGMENT, "x", BLOCKS, clear=b"positions"))
    assert (header.kind, header.epoch, header.tenant_hash, header.clear) == (
        Kind.SEGMENT,
        1,
        TENANT,
        b"positions",
    )


def test_equal_objects_have_no_equal_bytes() -> None:
    first, second = (SEALER.seal(Kind.SEGMENT, "x", BLOCKS) for _ in range(2))
    assert first[84:] != second[84:]


def test_any_flipped_bit_is_an_error_that_names_the_object() -> None:
    data = SEALER.seal(Kind.SEGMENT, "log/seven", BLOCKS, clear=b"clear")
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises((RepositoryDamaged, KeyUnavailable)) as caught:
                SEALER.open(Kind.SEGMENT, "log/seven", bytes(broken))
            # A flipped epoch asks for a key that is not there.
            assert "log/seven" in str(caught.value) or 12 <= place < 16


def test_every_truncation_and_every_addition_is_an_error() -> None:
    data = SEALER.seal(Kind.SEGMENT, "log/seven", BLOCKS)
    for length in range(len(data)):
        with pytest.raises(RepositoryDamaged, match="log/seven"):
            SEALER.open(Kind.SEGMENT, "log/seven", data[:length])
    for more in (b"\0", b"\0" * 40, data[84:]):
        with pytest.raises(RepositoryDamaged, match="log/seven"):
            SEALER.open(Kind.SEGMENT, "log/seven", data + more)


def test_blocks_that_were_swapped_do_not_open() -> None:
    data = SEALER.seal(Kind.SEGMENT, "x", [b"a" * 50, b"b" * 50, b"c"])
    first, second, third = (data[one.offset : one.offset + one.length] for one in blocks_of("x", data))
    for order in ((second, first, third), (first, third), (first, first, third), (first, second)):
        with pytest.raises(RepositoryDamaged):
            SEALER.open(Kind.SEGMENT, "x", data[:84] + b"".join(order))


@pytest.mark.parametrize(
    ("sealer", "kind", "name"),
    [
        (SEALER, Kind.SEGMENT, "another name"),
        (SEALER, Kind.MANIFEST, "x"),
        (Sealer(Keys(b"k" * 32), REPOSITORY, b"u" * 32), Kind.SEGMENT, "x"),
        (Sealer(Keys(b"k" * 32), b"r" * 16, TENANT), Kind.SEGMENT, "x"),
        (Sealer(Keys(b"K" * 32), REPOSITORY, TENANT), Kind.SEGMENT, "x"),
    ],
    ids=["name", "kind", "tenant", "repository", "key"],
)
def test_an_object_opens_only_where_it_belongs(sealer: Sealer, kind: Kind, name: str) -> None:
    data = SEALER.seal(Kind.SEGMENT, "x", BLOCKS)
    with pytest.raises(RepositoryDamaged):
        sealer.open(kind, name, data)


def test_a_new_epoch_is_for_new_objects_and_a_missing_one_is_said() -> None:
    old = SEALER.seal(Kind.SEGMENT, "x", BLOCKS)
    both = Sealer(Keys(b"k" * 32, b"l" * 32), REPOSITORY, TENANT)
    new = both.seal(Kind.SEGMENT, "x", BLOCKS)
    assert both.open(Kind.SEGMENT, "x", old) == both.open(Kind.SEGMENT, "x", new) == BLOCKS
    with pytest.raises(KeyUnavailable):
        SEALER.open(Kind.SEGMENT, "x", new)


def test_an_object_named_by_content_has_to_be_that_content() -> None:
    data = SEALER.seal(Kind.INDEX, "", [b"x"])
    name = f"index/{hashlib.sha256(data).hexdigest()}.idx"
    assert SEALER.open(Kind.INDEX, name, data) == [b"x"]
    with pytest.raises(RepositoryDamaged, match="others than its name"):
        SEALER.open(Kind.INDEX, name, SEALER.seal(Kind.INDEX, "", [b"x"]))


def test_single_blocks_open_by_their_place() -> None:
    sealing = SEALER.begin(Kind.PACK, "", ids=True)
    placed = [sealing.add(block, bytes([number]) * 32) for number, block in enumerate(BLOCKS)]
    sealing.add(b"end", bytes(32), last=True)
    data = sealing.data()
    header, _ = read_header("p", data)
    opening = SEALER.opening(Kind.PACK, "p", header)
    stored = [data[one.offset : one.offset + one.length] for one in placed]
    assert [opening.block(number, stored[number]) for number in range(3)] == BLOCKS
    assert [one.id for one in blocks_of("p", data)][:3] == [one.id for one in placed]
    with pytest.raises(RepositoryDamaged):
        opening.block(1, stored[0])


@given(st.binary(max_size=3000))
def test_a_block_is_padded_and_comes_back(block: bytes) -> None:
    plain = pack_plain(block)
    assert len(plain) == padded(len(plain))
    assert unpack_plain(plain) == block


@given(st.integers(0, 1 << 40))
def test_padding_adds_at_most_twelve_percent(length: int) -> None:
    assert length <= padded(length) <= length + max(1, length * 12 // 100)
    assert padded(padded(length)) == padded(length)
