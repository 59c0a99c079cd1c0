"""No trap of erasing is left behind without a word; the page says what a run has seen, and lists every trap."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from bench.residue import PAGE, measured_all
from bench.residue.page import page
from bench.residue.trap import Row, Seen, Trap

TRAP = Trap("M0", "a system", "bytes", "DELETE", None, "nothing here")


@pytest.mark.slow
def test_no_trap_is_left_behind_without_being_reported() -> None:
    rows = measured_all(10, 1.0, lambda _: None)
    left = [
        f"{row.trap.code} {row.trap.what}" for row in rows if row.ours is not None and row.ours.unreported
    ]
    assert not left
    ran = [row for row in rows if row.naive is not None]
    laid = [row for row in ran if row.naive is not None and row.naive.left]
    assert len(ran) >= 30 and len(laid) >= len(ran) - 1, "a trap that nothing falls into shows nothing"
    listed = re.findall(r"^\| (\S+) \|", PAGE.read_text(), re.MULTILINE)
    assert listed[1:] == [row.trap.code for row in rows], (
        "docs/residue.md is out of date: python -m bench residue"
    )


@pytest.mark.parametrize(
    ("seen", "words", "unreported"),
    [
        (Seen(0, "rows"), "clean", False),
        (Seen(1200, "rows"), "left: 1,200 rows", True),
        (Seen(2, "rows", "the search finds 2"), "reported: 2 rows; the search finds 2", False),
    ],
)
def test_what_is_left_and_not_told_is_unreported(seen: Seen, words: str, unreported: bool) -> None:
    assert (seen.in_words(), seen.unreported) == (words, unreported)


def test_the_page_counts_what_is_unreported_and_says_what_was_not_run() -> None:
    silent = Row(TRAP, Seen(3, "rows"), Seen(1, "rows"))
    text = page([silent, Row(TRAP, Seen(3, "rows"), Seen(0, "rows")), Row(TRAP, None, None)])
    assert "without being reported: 1 of 2.**" in text and "Not run: 1." in text
    assert "not run: nothing here" in text and "left: 1 rows" in text


def test_a_bar_in_a_text_does_not_break_the_table() -> None:
    row = Row(replace(TRAP, what="a|b"), Seen(0, "rows"), Seen(0, "rows"))
    assert "a\\|b" in page([row])
