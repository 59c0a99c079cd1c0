"""Cells and keys: exact to the byte, whatever a value is, and the same from every session with our settings."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.stores.postgres.backup.form import (
    TEXT_SETTINGS,
    items_of,
    line_of,
    numbered_key,
    row_key,
    text_options,
)

_CELLS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(
    str.encode
)
Row = tuple[bytes | None, ...]
_ROWS = st.tuples(_CELLS, _CELLS)
KEYED = Shape("public.x", (Column("a", "text"), Column("b", "text")), ("b", "a"))
KEYLESS = Shape("public.x", KEYED.columns, ())


@given(st.lists(_ROWS))
def test_a_line_is_read_as_what_was_written(rows: list[tuple[bytes | None, ...]]) -> None:
    found = list(items_of(KEYED, [b"".join(line_of(row) for row in rows)]))
    assert [item.cells for item in found] == rows
    assert [item.key for item in found] == [row_key((b, a)) for a, b in rows]


@given(_ROWS, _ROWS)
def test_keys_are_equal_for_equal_cells_only_and_sort_like_them(one: Row, other: Row) -> None:
    def sortable(row: Row) -> list[tuple[bool, bytes]]:
        return [(cell is not None, cell or b"") for cell in row]

    assert (row_key(one) == row_key(other)) == (one == other)
    assert (row_key(one) < row_key(other)) == (sortable(one) < sortable(other))
    assert numbered_key(one, 0) not in (row_key(one), row_key(other), numbered_key(one, 1))


def test_equal_rows_without_a_key_are_numbered() -> None:
    lines = [b"a\tb\n" * 2 + b"a\tc\n", b"a\tc\n"]
    keys = [item.key for item in items_of(KEYLESS, lines)]
    assert keys == [numbered_key((b"a", last), n) for last in (b"b", b"c") for n in (0, 1)]


HARD = """
SELECT '-0'::float8, 0.1::float8, 'NaN'::float4, 1.10::numeric(10,2), 'a  '::char(5), true, '\\\\x00ff'::bytea,
       timestamptz '2026-03-29 02:30:00+02', timestamp 'infinity', interval '1 mon -1 day 00:00:00.000001',
       ARRAY['x','NULL',NULL,'a"b'], '[0:1]={1,2}'::int[], 'pg_class'::regclass, '10.0.0.1'::inet, E'a\\tb\\nc\\\\d',
       '{"b":1,"a":[null]}'::jsonb, '{"b" : 1}'::json, 12.5::money, (1, NULL, 'x y')::record::text, daterange('2026-01-01', NULL)
"""  # fmt: skip


@pytest.mark.parametrize("major", [16, 18])
def test_a_server_with_other_defaults_writes_the_same_bytes(
    new_database: Callable[..., str], major: int
) -> None:
    dsn = new_database(major)
    with psycopg.connect(dsn, autocommit=True) as conn:
        name = conn.info.dbname
        for setting in ("datestyle='German'", "intervalstyle='postgres_verbose'", "timezone='Asia/Tokyo'",
                        "extra_float_digits=-3", "bytea_output='escape'", "search_path='public'",
                        "quote_all_identifiers=on"):  # fmt: skip
            conn.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    seen = []
    for options in (text_options(), f"-c application_name=x {text_options()}"):
        with psycopg.connect(dsn, options=options) as conn:
            for setting, wanted in TEXT_SETTINGS.items():
                if setting != "client_encoding":
                    assert conn.execute("SELECT current_setting(%s)", (setting,)).fetchone() == (wanted,)
            with conn.cursor().copy(f"COPY ({HARD.strip()}) TO STDOUT".encode()) as stream:
                seen.append(b"".join(stream))
    assert seen[0] == seen[1] and b"2026-03-29 00:30:00+00" in seen[0] and b"P1M-1DT0.000001S" in seen[0]
