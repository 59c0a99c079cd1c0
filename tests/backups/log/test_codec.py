"""Frames come back as they were, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_lifecycle.backups.log import codec
from tenant_lifecycle.model.backup.items import (
    UNCHANGED,
    Delete,
    Frame,
    Reshape,
    Truncate,
    Unknown,
    Upsert,
)  # fmt: skip
from tenant_lifecycle.model.backup.shape import Column, Shape

_names = st.text(max_size=12)
_bytes = st.binary(max_size=20)
_cells = st.one_of(st.none(), st.just(UNCHANGED), _bytes)
_columns = st.builds(Column, _names, _names, st.booleans(), st.booleans())
_shapes = st.builds(
    Shape, _names, st.lists(_columns, max_size=4).map(tuple), st.lists(_names, max_size=2).map(tuple)
)
_pairs = st.lists(st.tuples(_names, _names), max_size=2).map(tuple)
_filled = st.lists(st.tuples(_names, st.one_of(st.none(), _bytes)), max_size=2).map(tuple)
_ops = st.one_of(
    st.builds(Upsert, _names, _bytes, st.lists(_cells, max_size=5).map(tuple), st.one_of(st.none(), _bytes)),
    st.builds(Delete, _names, _bytes),
    st.builds(Truncate, _names),
    st.builds(Unknown, _names, _bytes),
    st.builds(Reshape, _shapes, _pairs, _filled),
)
_number = st.integers(0, 2**63 - 1)


@st.composite
def _frames(draw: st.DrawFn) -> Frame:
    at_us = draw(st.integers(0, 2**62))
    since = draw(st.one_of(st.none(), st.integers(0, at_us)))
    xid = draw(st.one_of(st.none(), st.integers(1, 2**64 - 1)))
    return Frame(draw(_number), at_us, tuple(draw(st.lists(_ops, max_size=5))), xid, since)


@settings(deadline=None)
@given(st.lists(_frames(), max_size=6))
def test_frames_come_back_as_they_were(frames: list[Frame]) -> None:
    assert codec.decode(codec.encode(frames)) == frames


@settings(deadline=None)
@given(st.lists(_frames(), min_size=1, max_size=3), st.data())
def test_a_block_that_is_cut_off_is_refused(frames: list[Frame], data: st.DataObject) -> None:
    block = codec.encode(frames)
    with pytest.raises(ValueError):
        codec.decode(block[: data.draw(st.integers(0, len(block) - 1))])
    with pytest.raises(ValueError):
        codec.decode(block + b"\0")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_and_nothing_else(block: bytes) -> None:
    try:
        frames = codec.decode(block)
    except ValueError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


def test_blocks_are_closed_in_time_and_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BLOCK_BYTES", 300)
    frames = [Frame(n, n, (Upsert("s", b"k", (b"x" * 100,)),)) for n in range(20)]
    made = list(codec.blocks(frames))
    assert len(made) > 5
    assert [frame for block in made for frame in codec.decode(block)] == frames
    assert list(codec.blocks([])) == []
