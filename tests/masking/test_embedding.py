"""Vectors are made of masked text by whatever embedder there is."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.errors import ConfigError, StoreError
from tenant_lifecycle.masking.embedding import CommandEmbedder, HashingEmbedder, Shelf, embedder
from tenant_lifecycle.masking.recognisers import recognisers
from tenant_lifecycle.masking.transformers.prose import single, vector_size

ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps([float(len(asked["text"]))] * asked["dimensions"]), flush=True)
"""


@given(st.text(max_size=80), st.integers(1, 64))
def test_hashed_vectors_have_length_one_and_the_asked_dimensions(text: str, dimensions: int) -> None:
    vector = HashingEmbedder()(text, dimensions)
    assert len(vector) == dimensions and math.isclose(sum(v * v for v in vector), 1.0, rel_tol=1e-9)
    assert HashingEmbedder()(text, dimensions) == vector


def test_texts_with_words_in_common_are_nearer() -> None:
    make = HashingEmbedder()
    one, near, far = (
        make(text, 256)
        for text in (
            "the quarterly invoice was approved",
            "the quarterly invoice was rejected",
            "nine green bottles",
        )
    )
    assert (
        sum(a * b for a, b in zip(one, near, strict=True))
        > 0.5
        > sum(a * b for a, b in zip(one, far, strict=True))
    )


def test_a_command_makes_vectors_and_its_mistakes_are_named() -> None:
    made = CommandEmbedder([sys.executable, "-c", ECHO])
    try:
        assert made("abc", 4) == [3.0] * 4 and made("a\nb", 2) == [3.0, 3.0]
    finally:
        made.close()
    wrong = CommandEmbedder([sys.executable, "-c", "print('[1.0]', flush=True); input()"])
    try:
        with pytest.raises(StoreError, match="no vector of 4 numbers"):
            wrong("abc", 4)
    finally:
        wrong.close()


def test_a_command_that_ended_is_named() -> None:
    gone = CommandEmbedder([sys.executable, "-c", ""])
    gone._process.wait()
    try:
        with pytest.raises(StoreError, match="gave no"):
            gone("abc", 4)
    finally:
        gone.close()


def test_plug_ins_that_are_not_there_are_named() -> None:
    assert embedder("hashing").name == "hashing-1"
    with pytest.raises(ConfigError, match="no embedder is called 'ada'"):
        embedder("ada")
    with pytest.raises(ConfigError, match="no recogniser is called 'presidio'"):
        recognisers(["presidio"])


def test_a_shelf_keeps_vectors_by_place() -> None:
    shelf = Shelf()
    shelf.put(["d", "1"], [0.5, 0.25])
    assert (
        shelf.get(["d", "1"]) == (0.5, 0.25)
        and shelf.get(["d", "2"]) is None
        and shelf.get(["d1", None]) is None
    )
    shelf.close()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_are_written_as_short_as_they_read_the_same(number: float) -> None:
    assert float(single(number)) == pytest.approx(number, rel=1e-7) and len(single(number)) <= 15


def test_the_size_of_a_vector_is_read_off_its_text() -> None:
    assert [vector_size(text) for text in ("[1,2,3]", "{1,2}", "{1:0.5}/1536", "[]")] == [3, 2, 1536, 32]
