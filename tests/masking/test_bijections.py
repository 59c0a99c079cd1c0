"""Ids stay apart and equal ids stay equal, whatever the domain; another key gives others."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.masking.bijections import IdRange, IntegerIds, Permutation, TextIds, UuidIds
from tenant_lifecycle.masking.keying import MaskingKey

KEY, OTHER = b"a" * 32, b"b" * 32
numbers = st.integers(min_value=0, max_value=2**63 - 1)


@given(st.integers(min_value=1, max_value=700))
def test_a_permutation_hits_every_number_of_any_size_once(size: int) -> None:
    permutation = Permutation(KEY, size)
    found = [permutation(number) for number in range(size)]
    assert sorted(found) == list(range(size))
    assert [permutation.inverse(number) for number in found] == list(range(size))


@given(st.integers(min_value=1, max_value=2**63), st.data())
def test_a_permutation_of_a_large_domain_stays_inside_and_leads_back(size: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(min_value=0, max_value=size - 1))
    permutation = Permutation(KEY, size)
    assert 0 <= permutation(number) < size
    assert permutation.inverse(permutation(number)) == number


def test_a_number_outside_of_the_domain_is_refused() -> None:
    for number in (-1, 10):
        with pytest.raises(UsageError):
            Permutation(KEY, 10)(number)


def test_ids_lie_in_the_clones_range_and_dangling_ones_below_zero() -> None:
    ids = IntegerIds(KEY, IdRange(1, 1000, target=5_000_000), bits=32)
    assert sorted(ids(number) for number in range(1, 1001)) == list(range(5_000_000, 5_001_000))
    outside = [ids(number) for number in range(1001, 3001)]
    assert len(set(outside)) == 2000 and all(-(2**31) <= number < 0 for number in outside)


def test_ids_that_do_not_fit_into_the_column_are_refused() -> None:
    with pytest.raises(UsageError, match="do not fit into 16 bits"):
        IntegerIds(KEY, IdRange(1, 40_000), bits=16)


@given(st.uuids(version=4) | st.uuids(version=1), st.uuids())
def test_uuids_stay_apart_and_keep_their_version(one: uuid.UUID, other: uuid.UUID) -> None:
    ids = UuidIds(KEY)
    found = uuid.UUID(ids(str(one)) or "")
    assert found.version == one.version and found.variant == one.variant
    assert (ids(str(one)) == ids(str(other))) == (one == other)


def test_a_uuid_is_the_same_one_in_every_writing() -> None:
    ids = UuidIds(KEY)
    text = "0C4EBE15-ADC8-4A14-84B8-F367CDB2871C"
    plain = ids(text.lower()) or ""
    assert ids(text) == plain.upper()
    assert ids(text.lower().replace("-", "")) == plain.replace("-", "")
    assert ids(f"{{{text.lower()}}}") == f"{{{plain}}}"
    assert ids("no uuid") is None


@given(st.lists(st.text(max_size=20), max_size=30, unique=True))
def test_texts_stay_apart(texts: list[str]) -> None:
    ids = TextIds(KEY)
    assert len({ids(text) for text in texts}) == len(texts)


@given(st.from_regex(r"[a-z]{4}-[0-9]{4}\.[A-Z]{2}", fullmatch=True))
def test_a_text_keeps_its_shape_where_there_are_enough_of_it(text: str) -> None:
    found = TextIds(KEY)(text)
    assert [("a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else c) for c in found] == [
        ("a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else c) for c in text
    ]


def test_short_and_foreign_texts_become_tokens() -> None:
    ids = TextIds(KEY)
    assert all(ids(text).startswith("t-") for text in ("", "a", "42", "müller-straße-4711"))


def test_all_ids_of_a_small_shape_stay_apart() -> None:
    ids = TextIds(KEY)
    assert len({ids(f"{number:03}") for number in range(1000)}) == 1000


@given(numbers)
def test_two_keys_give_different_ids(number: int) -> None:
    text = str(uuid.UUID(int=number << 62))
    assert UuidIds(KEY)(text) != UuidIds(OTHER)(text)
    assert TextIds(KEY)(f"order-{number:019}") != TextIds(OTHER)(f"order-{number:019}")
    assert Permutation(KEY, 2**63)(number) != Permutation(OTHER, 2**63)(number)


def test_a_key_is_needed_and_bound_to_tenant_and_target() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        MaskingKey(b"short", "a", "b")
    digests = {
        MaskingKey(b"k" * 32, tenant, target, purpose).digest("person.email", "x")
        for tenant, target, purpose in (("a", "b", "clone"), ("a", "c", "clone"), ("b", "b", "clone"), ("a", "b", "test"), ("ab", "", "clone"))
    }  # fmt: skip
    assert len(digests) == 5
    key = MaskingKey(b"k" * 32, "a", "b")
    assert key.digest("a", "bc") != key.digest("ab", "c")
    assert "k" * 4 not in repr(key)
