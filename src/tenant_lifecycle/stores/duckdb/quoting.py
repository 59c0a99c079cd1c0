"""Names and literals where DuckDB takes no parameters: quoted, never pasted."""

from __future__ import annotations

from collections.abc import Iterable


def name(text: str) -> str:
    """A quoted identifier."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted string."""
    return "'" + text.replace("'", "''") + "'"


def digest(columns: Iterable[str]) -> str:
    """The expression for what a row without a key is known by: 32 hexadecimal digits over all its values."""
    return f"md5(CAST(ROW({', '.join(map(name, columns))}) AS VARCHAR))"


def owned(column: str) -> str:
    """The condition for rows of the tenant; takes one parameter, the values as a list of text."""
    return f"list_contains(?::VARCHAR[], CAST({name(column)} AS VARCHAR))"
