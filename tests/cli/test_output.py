"""What stands on the screen: aligned, harmless, and the same for every caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted import Run
from tenant_lifecycle.cli.output import bytes_text, count_text, printable, table, wants_json


@given(st.text())
def test_nothing_a_terminal_obeys_is_ever_printed(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & {"\u202e", "\u2066", "\u200f", "\u2028"}


def test_harmless_text_is_printed_as_it_is() -> None:
    assert printable("Müller & Söhne 東京 №7") == "Müller & Söhne 東京 №7"
    assert printable("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"


def test_a_tenant_with_a_hostile_name_cannot_write_to_the_screen(run: Run) -> None:
    ran = run("migrate", "plan", "\x1b]0;pwned\x07[bold]acme", "--to", "green")
    assert "\x1b" not in ran.out + ran.err
    assert "\\x1b]0;pwned\\x07[bold]acme" in ran.out


def test_columns_are_aligned_and_never_cut() -> None:
    long = "x" * 300
    lines = table(("NAME", "N"), [("a", "1"), (long, "12345")], right=(1,))
    assert [line.rindex(number) + len(number) for line, number in zip(lines, ("N", "1", "12345"), strict=True)] == [307] * 3  # fmt: skip
    assert long in lines[2]


@pytest.mark.parametrize(
    ("line", "json"),
    [
        (["op", "list", "--json"], True),
        (["op", "list", "-o", "json"], True),
        (["op", "list", "--output=json"], True),
        (["op", "list", "-ojson"], True),
        (["op", "list", "-o", "text"], False),
        (["op", "get", "json"], False),
        ([], False),
    ],
)
def test_asking_for_json_is_seen_even_where_the_line_is_wrong(line: list[str], json: bool) -> None:
    assert wants_json(line) is json


def test_numbers_say_whether_they_are_exact() -> None:
    assert count_text(4182330) == "4 182 330"
    assert count_text(4182330, exact=False) == "~4 182 330"
    assert (bytes_text(0), bytes_text(999), bytes_text(11_200_000_000), bytes_text(5e15)) == (
        "0 B",
        "999 B",
        "11.2 GB",
        "5000.0 TB",
    )


def test_colour_goes_where_it_is_not_wanted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("migrate", "plan", "acme", "--to", "green").out
    assert "\x1b[3" not in run("--no-color", "migrate", "plan", "acme", "--to", "green").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("migrate", "plan", "acme", "--to", "green").out


@pytest.mark.parametrize("output", ["text", "json"])
def test_an_encoding_without_our_characters_is_no_reason_to_fail(tmp_path: Path, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tenant_lifecycle.cli", "init", "Mü→\udcff", "-o", output],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    if output == "json":
        assert json.loads(done.stdout)["written"][0] == "Mü→\udcff/lifecycle.yaml"
