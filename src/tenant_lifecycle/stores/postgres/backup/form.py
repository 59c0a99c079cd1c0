"""How rows are written down in a backup: cells as PostgreSQL's output functions print them, and the key's bytes.

A base comes from COPY, the change log from a walsender; both have to print a value with the same bytes, or neither
items nor fingerprints would meet. So every session that reads cells begins with `TEXT_SETTINGS` (a walsender gets
them as libpq's ``options``, from `text_options`), and nothing else decides about their form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from psycopg import sql

from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.stores.postgres.connection import SESSION, Connection

#: What decides how an output function prints a value. The search path decides how reg* types print a name.
TEXT_SETTINGS = {
    **{
        name: SESSION[name]
        for name in (
            "client_encoding", "datestyle", "intervalstyle", "timezone", "extra_float_digits", "bytea_output",
            "search_path",
        )
    },
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
}  # fmt: skip

_WRITTEN = {b"\\b": b"\b", b"\\f": b"\f", b"\\n": b"\n", b"\\r": b"\r", b"\\t": b"\t", b"\\v": b"\v"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[\\\n\r\t]")
_ESCAPED = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}


def text_options() -> str:
    """`TEXT_SETTINGS` as libpq's ``options``."""
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in TEXT_SETTINGS.items())


def use_text_settings(conn: Connection) -> None:
    """Give an open session those of `TEXT_SETTINGS` that ours do not begin with."""
    for name in TEXT_SETTINGS.keys() - SESSION.keys():
        conn.execute("SELECT set_config(%s, %s, false)", (name, TEXT_SETTINGS[name]))


def row_key(cells: Sequence[Cell]) -> bytes:
    """The key of a row, from the cells of its key columns in key order.

    No text of PostgreSQL has a NUL in it, so different keys have different bytes, and the bytes sort like the tuples
    of their cells, NULLs first (in SQL: ``COLLATE "C" NULLS FIRST``).
    """
    return b"\0".join([b"\1" if cell is None else b"\2" + cell for cell in cells])


def numbered_key(cells: Sequence[Cell], number: int) -> bytes:
    """The key of the ``number``-th (from 0) of the rows with these cells in a set without a key."""
    return row_key(cells) + b"\0\3" + number.to_bytes(8, "big")


def key_places(shape: Shape) -> tuple[int, ...]:
    """Where the cells of the key are in a row of that shape."""
    at = {column.name: place for place, column in enumerate(shape.columns)}
    return tuple(at[name] for name in shape.key)


def key_of(shape: Shape, cells: Sequence[Cell], number: int = 0) -> bytes:
    """The key of a row of that shape; ``number``: of a set without a key, which of the equal rows it is."""
    if not shape.key:
        return numbered_key(cells, number)
    return row_key([cells[place] for place in key_places(shape)])


def items_of(shape: Shape, blocks: Iterable[bytes]) -> Iterator[Item]:
    """Items from whole lines of COPY's text format; of a set without a key, equal rows have to come together."""
    if not shape.key:
        yield from _numbered(shape, blocks)
        return
    places = key_places(shape)
    for cells in _rows(blocks):
        yield Item(shape.set, row_key([cells[place] for place in places]), cells)


def _numbered(shape: Shape, blocks: Iterable[bytes]) -> Iterator[Item]:
    before: tuple[Cell, ...] | None = None
    number = 0
    for cells in _rows(blocks):
        number = number + 1 if cells == before else 0
        before = cells
        yield Item(shape.set, numbered_key(cells, number), cells)


def _rows(blocks: Iterable[bytes]) -> Iterator[tuple[Cell, ...]]:
    for block in blocks:
        for line in block.split(b"\n")[:-1]:
            if b"\\" in line:
                yield tuple([_cell(field) for field in line.split(b"\t")])
            else:
                yield tuple(line.split(b"\t"))


def _cell(field: bytes) -> Cell:
    if field == b"\\N":
        return None
    return _ESCAPE.sub(lambda found: _WRITTEN.get(found[0], found[1]), field) if b"\\" in field else field


def line_of(cells: Sequence[Cell]) -> bytes:
    """A row as one line of COPY's text format."""
    # Few rows have anything to escape, and looking at all cells at once is cheaper than looking at each.
    probe = b"".join([cell for cell in cells if cell is not None])
    if b"\\" in probe or b"\n" in probe or b"\t" in probe or b"\r" in probe:
        return b"\t".join([_field(cell) for cell in cells]) + b"\n"
    return b"\t".join([b"\\N" if cell is None else cell for cell in cells]) + b"\n"


def _field(cell: Cell) -> bytes:
    if cell is None:
        return b"\\N"
    return _SPECIAL.sub(lambda found: _ESCAPED[found[0]], cell) if _SPECIAL.search(cell) else cell


def in_key_order(shape: Shape, alias: str) -> sql.Composed:
    """ORDER BY so that `row_key` ascends; without a key, by all cells, so that equal rows come together."""
    nullable = {column.name: column.nullable for column in shape.columns}
    terms: list[sql.Composable] = []
    for name in shape.key or nullable:
        column = sql.Identifier(alias, name)
        if nullable[name]:
            terms.append(sql.SQL("({}) IS NOT NULL").format(column))
        # Not a cast to text: that is another form for some types (char(n), boolean, inet).
        terms.append(sql.SQL("format('%s', {}) COLLATE \"C\"").format(column))
    return sql.SQL(", ").join(terms)
