"""Items of every store taken apart and put together: the same bytes, or the same with what was masked changed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.masking.classes import DataClass, Rule
from tenant_lifecycle.masking.forms import ObjectForm, Opened, RedisForm, VectorForm
from tenant_lifecycle.masking.naming import NameForm
from tenant_lifecycle.masking.pgtext import elements, map_array, parse_json, write_json
from tenant_lifecycle.masking.walking import changed, leaves
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import Held
from tenant_lifecycle.model.backup.redis_value import Header, packed, score
from tenant_lifecycle.model.backup.vector_value import VectorValue, canonical, dense, multi, sparse


def redis(kind: str, *records: tuple[bytes, ...], text: bytes = b"") -> Item:
    content = text or b"".join(map(packed, records))
    return Item("s", b"key:\xff", (Held(Header(kind, 99).written(), content).cell(),), 7)


VALUES = [
    redis("string", text=b"some \xff bytes"), redis("list", (b"b",), (b"a",), (b"b",)), redis("set", (b"a",), (b"b",)),
    redis("hash", (b"f", b"1"), (b"g", b"\xfe")), redis("zset", (score(b"-1.5"), b"z"), (score(b"2"), b"a"), (score(b"2"), b"b")),
    redis("stream", (b"last", b"2-0"), (b"entry", b"1-0", b"k", b"v", b"l", b"w"), (b"entry", b"2-0", b"k", b"x"),
          (b"group", b"g", b"1-0"), (b"consumer", b"c"), (b"pending", b"1-0", b"c", b"3")),
]  # fmt: skip


@pytest.mark.parametrize(
    "item", VALUES, ids=lambda item: str(Header.read(Held.read(item.cells[0]).header).kind)
)
def test_a_redis_value_comes_back_as_it_was(item: Item) -> None:
    form = RedisForm()
    assert form.closed(item, form.opened(item)) == item


def test_masked_members_are_in_the_order_of_a_server_and_without_doubles() -> None:
    item = redis("zset", (score(b"1"), b"a"), (score(b"1"), b"b"), (score(b"2"), b"c"))
    opened = RedisForm().opened(item)
    closed = RedisForm().closed(
        item, Opened(opened.names, {**opened.content, "elements": [b"z", b"y", b"y"]})
    )
    content = Held.read(closed.cells[0] or b"").content or b""
    assert content == packed((score(b"1"), b"z")) + packed((score(b"2"), b"y"))
    assert struct.unpack(">d", score(b"2"))[0] == 2.0


def test_a_modules_value_and_one_in_parts_are_emptied() -> None:
    form = RedisForm()
    dump = redis("ReJSON-RL", text=b"opaque")
    big = Item("s", b"key", (Held(Header("string").written(), None, (b"d" * 32,)).cell(),))
    for item in (dump, big):
        opened = form.opened(item)
        assert opened.content == {"dump": b""}
        assert Held.read(form.closed(item, opened).cells[0] or b"").content == b""


def test_an_object_comes_back_as_it_was() -> None:
    header = ObjectHeader(
        (("ContentType", "text/plain"),),
        (("title", "x"),),
        (("kind", "doc"),),
        "Thu, 01 Dec 1994 16:00:00 GMT",
    )
    item = Item("o", "documents/ä/1.txt".encode(), (Held(header.written(), b"body").cell(),), 3)
    assert ObjectForm().closed(item, ObjectForm().opened(item)) == item


def test_a_vector_comes_back_as_it_was_without_its_sparse_part() -> None:
    metadata = canonical({"n": 1.0, "tags": ["a"], "deep": {"x": None}})
    whole = {"": dense([0.5, 0.25]), "rows": multi([[1.0], [2.0]])}
    item = Item("v", b"ns\0id#1", (VectorValue({**whole, "sparse": sparse([7], [0.5])}, metadata).cell(),))
    closed = VectorForm().closed(item, VectorForm().opened(item))
    value = VectorValue.read(closed.cells[0] or b"")
    assert closed.key == item.key and dict(value.vectors) == whole
    assert value.told() == {"n": 1.0, "tags": ["a"], "deep": {}}


def test_numbers_stay_numbers_of_their_kind() -> None:
    rule = Rule(DataClass.JSON, "json", children={"*": Rule(DataClass.IDENTIFIER, "integer", "d")})
    found = changed({"a": 5.0, "b": 7}, rule, lambda _rule, text: {"5": "50", "7": "70"}.get(text, text))
    assert found == {"a": 50.0, "b": "70"} and isinstance(found["a"], float)
    assert {leaf.text for leaf in leaves({"a": 5.0}, rule, "p") if leaf.path == "p.*"} == {"a", "5"}


@given(
    st.lists(
        st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)),
        max_size=6,
    )
)
def test_arrays_are_read_and_written_as_postgresql_does(values: list[str | None]) -> None:
    written = (
        "{"
        + ",".join(
            "NULL" if one is None else '"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"'
            for one in values
        )
        + "}"
    )
    assert elements(written) == [one for one in values if one is not None]
    assert elements(map_array(written, lambda one: one)) == elements(written)
    assert map_array('{{a,NULL},{b,"c d"}}', str.upper) == '{{A,NULL},{B,"C D"}}'


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "bb": 1.10, "ccc": [true, null, "x\\n\\"ü"]}',
        '[12345678901234567890, 1.0E+400, {"z": {}}]',
        '"plain"',
        "17",
    ],
)
def test_json_keeps_its_bytes(text: str) -> None:
    assert write_json(parse_json(text)) == text


def test_names_match_whole_and_only_the_tenant() -> None:
    form = NameForm.parse("documents/{tenant}/{document}.txt")
    id = "0c4ebe15-adc8-4a14-84b8-f367cdb2871c"
    assert form.read(f"documents/1/{id}.txt", "1") == ["1", id]
    assert (
        form.read(f"documents/12/{id}.txt", "1") is None and form.read(f"x/documents/1/{id}.txt", "1") is None
    )
    assert NameForm.parse("a:{tenant}:{keep}").read("a:.*:b", ".*") == [".*", "b"]
    assert NameForm.parse("a:{tenant}:{keep}").read("a:xx:b", ".*") is None
    with pytest.raises(ValueError, match=r"write \{tenant\}"):
        NameForm.parse("a/{Tenant}")
