"""Items of keyed stores in one form: what is written is read, in pieces of any size, and big ones go in parts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.model.backup import parts, redis_value, vector_value
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import Held, is_part, items_of
from tenant_lifecycle.model.backup.redis_value import Header, packed, unpacked
from tenant_lifecycle.model.backup.vector_value import VectorValue

KEY = b"k" * 32
records = st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4).map(tuple), max_size=10)


@given(records, st.integers(min_value=1, max_value=17))
def test_records_come_back_from_pieces_of_any_size(given_records: list[tuple[bytes, ...]], size: int) -> None:
    whole = b"".join(packed(one) for one in given_records)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert list(unpacked(pieces)) == given_records


@given(records.filter(bool), st.data())
def test_records_that_end_too_early_are_refused(
    given_records: list[tuple[bytes, ...]], data: st.DataObject
) -> None:
    last = packed(given_records[-1])
    cut = data.draw(st.integers(min_value=1, max_value=len(last) - 1))
    with pytest.raises(ValueError):
        list(unpacked([b"".join(map(packed, given_records[:-1])), last[:cut]]))


@given(st.floats(allow_nan=False))
def test_a_score_goes_through_text_unchanged(value: float) -> None:
    form = redis_value.score(repr(value).encode())
    assert redis_value.score(redis_value.score_text(form)) == form


@given(st.binary(max_size=50), st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 16))
def test_content_is_whole_in_the_item_or_in_the_parts_it_names(
    header: bytes, pieces: list[bytes], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", size)
        *before, head = items_of("s", b"key", header, pieces, 7)
    held = Held.read(head.cells[0] or b"")
    content = b"".join(pieces)
    assert held.header == header and head.key == b"key"
    if len(content) <= size:
        assert held.content == content and not before
    else:
        by_key = {one.key: one.cells[0] or b"" for one in before}
        assert b"".join(by_key[parts.part_key(digest)] for digest in held.parts) == content
        assert all(is_part(key) and len(part) <= size for key, part in by_key.items())


def test_parts_do_not_count_in_a_fingerprint_but_what_they_hold_does() -> None:
    big = b"x" * (parts.PART_BYTES + 1)
    one = list(items_of("s", b"k", b"", [big], 0))
    other = list(items_of("s", b"k", b"", [big[:-1] + b"y"], 0))
    assert len(one) == 3
    assert fingerprint(KEY, one) == fingerprint(KEY, one[-1:]) != fingerprint(KEY, other)
    summed = Fingerprint()
    for item in one:
        summed = summed.plus(KEY, item)
    assert summed == fingerprint(KEY, one)
    assert summed.minus(KEY, one[0]) == summed


@pytest.mark.parametrize("cell", [b"", b"\0\0\0\0", b"\0\0\0\0P", b"\0\0\0\0Pshort", b"\0\0\0\x09hX"])
def test_a_damaged_cell_is_refused(cell: bytes) -> None:
    with pytest.raises(ValueError):
        Held.read(cell)


@pytest.mark.parametrize(
    "header", [Header("hash"), Header("string", 0), Header("ReJSON-RL", 1_900_000_000_123)]
)
def test_a_header_of_redis_comes_back(header: Header) -> None:
    assert Header.read(header.written()) == header


def test_an_object_header_comes_back_whatever_letters_it_has() -> None:
    header = ObjectHeader(
        (("ContentType", "text/ümlaut"),), (("a", "=?utf-8?q?x?="),), (("t", "'; DROP"),), "x"
    )
    assert ObjectHeader.read(header.written()) == header


floats = st.floats(width=32, allow_nan=False)


@given(
    st.lists(floats, max_size=6),
    st.dictionaries(st.integers(0, 2**63), floats, max_size=5),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans())),
)
def test_a_vector_comes_back_bit_by_bit(
    values: list[float], weights: dict[int, float], metadata: dict[str, object]
) -> None:
    value = VectorValue(
        {
            "": vector_value.dense(values),
            "s": vector_value.sparse(list(weights), list(weights.values())),
            "m": vector_value.multi([values, values]),
        },
        vector_value.canonical(metadata),
    )
    again = VectorValue.read(value.cell())
    assert again == value
    assert again.vectors[""].floats() == values and again.vectors["m"].rows == 2
    assert again.vectors["s"].positions() == sorted(weights)
    assert again.told() == metadata


def test_numbers_of_metadata_are_floats_where_the_service_knows_no_others() -> None:
    one, other = ({"n": 3, "yes": True}, {"yes": True, "n": 3.0})
    assert vector_value.canonical(one, floats=True) == vector_value.canonical(other, floats=True)
    assert vector_value.canonical(one) != vector_value.canonical(other)
    assert math.copysign(1, vector_value.dense([-0.0]).floats()[0]) == -1


def test_no_part_reads_like_a_key_of_a_store() -> None:
    assert not any(is_part(key) for key in (b"", b"k", parts.MARK, parts.MARK + b"x" * 31, b"x" * 41))
    assert is_part(Item("s", parts.part_key(b"d" * 32), (b"",)).key)


def test_parts_that_nothing_names_are_left_out() -> None:
    one, other, old = (list(items_of("s", key, b"", [content * (parts.PART_BYTES + 1)], 0)) for key, content in
                       ((b"a", b"x"), (b"b", b"x"), (b"a", b"y")))  # fmt: skip
    kept = sorted({item.key: item for item in (*one, *other)}.values(), key=lambda item: item.key)
    given = sorted([*kept, *old[:-1]], key=lambda item: item.key)
    assert len(given) == len(kept) + 2
    assert list(parts.named_only(lambda: given)) == kept
    # Sets that never have parts need not have cells of this form.
    plain = [Item("v", b"\0", (b"?",)), Item("v", b"k", (b"?",)), Item("v", b"l", (None,))]
    assert list(parts.named_only(lambda: plain)) == plain
