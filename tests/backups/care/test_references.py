"""A base is closed: what its rows refer to is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenant_lifecycle.backups.care.references import Dangling, dangling, references_of
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.shape import Column, Shape


def shape(name: str, *columns: str) -> Shape:
    return Shape(name, tuple(Column(one, "text") for one in columns), (columns[0],))


SHAPES = {
    "public.documents": shape("public.documents", "id", "part", "title"),
    "public.chunks": shape("public.chunks", "id", "document", "part", "follows"),
}
FACTS = {
    "rules": [
        {"kind": "constraint", "type": "f", "name": "of", "set": "public.chunks", "columns": ["document", "part"],
         "parent": "public.documents", "parent_columns": ["id", "part"]},
        {"kind": "constraint", "type": "f", "name": "after", "set": "public.chunks", "columns": ["follows"],
         "parent": "public.chunks", "parent_columns": ["id"]},
        {"kind": "constraint", "type": "f", "name": "elsewhere", "set": "public.chunks", "columns": ["id"],
         "parent": "public.users", "parent_columns": ["id"]},
        {"kind": "constraint", "type": "u", "name": "unique", "set": "public.chunks", "columns": ["id"]},
        {"kind": "index", "type": "", "name": "fast", "set": "public.chunks"},
    ]
}  # fmt: skip


def missing(rows: Mapping[str, list[tuple[Cell, ...]]]) -> list[tuple[str, int]]:
    def items(name: str) -> Iterator[Item]:
        return (Item(name, cells[0] or b"", cells) for cells in rows[name])

    found: list[Dangling] = dangling(references_of(FACTS, SHAPES), SHAPES, items)
    return [(one.reference.name, one.items) for one in found]


DOCUMENTS: list[tuple[Cell, ...]] = [(b"1", b"a", b"x"), (b"2", b"a", b"y")]


def test_references_are_those_with_both_ends_in_the_base() -> None:
    assert [one.name for one in references_of(FACTS, SHAPES)] == ["of", "after"]
    assert references_of({}, SHAPES) == []


def test_a_closed_base_has_nothing_dangling() -> None:
    chunks: list[tuple[Cell, ...]] = [
        (b"7", b"1", b"a", None),
        (b"8", b"2", b"a", b"7"),
        (b"9", None, b"q", None),
    ]
    assert missing({"public.documents": DOCUMENTS, "public.chunks": chunks}) == []


def test_a_row_whose_parent_is_missing_is_counted() -> None:
    chunks: list[tuple[Cell, ...]] = [
        (b"7", b"1", b"b", b"70"),
        (b"8", b"3", b"a", None),
        (b"9", b"1", b"a", b"7"),
    ]
    assert missing({"public.documents": DOCUMENTS, "public.chunks": chunks}) == [("of", 2), ("after", 1)]


def test_cells_that_run_together_are_not_confused() -> None:
    documents: list[tuple[Cell, ...]] = [(b"1", b"23", b"x")]
    chunks: list[tuple[Cell, ...]] = [(b"7", b"12", b"3", None)]
    assert missing({"public.documents": documents, "public.chunks": chunks}) == [("of", 1)]
