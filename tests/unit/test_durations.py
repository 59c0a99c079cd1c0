"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.model.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("2s", 2.0),
        ("1h30m", 5400.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("1.5h", 5400.0),
        ("0s", 0.0),
    ],
)
def test_what_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "24", "h", "24 hours", "-1s", "1h 30m", "1e3s", "24hh", "٣s", "1y"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 24h"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_whole_milliseconds_are_read_exactly(milliseconds: int) -> None:
    assert parse_duration(f"{milliseconds}ms") == pytest.approx(milliseconds / 1000)


def test_for_people() -> None:
    shown = [format_duration(s) for s in (-1, 0.34, 1.5, 41, 1868, 7500, 43200, 86400, 277200)]
    assert shown == ["0 ms", "340 ms", "1.5 s", "0:41", "31:08", "2 h 05 min", "12 h", "1 d", "3 d 5 h"]
