"""Arrays and JSON as PostgreSQL writes them: taken apart and put together to the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}"]+)')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r"[^{}\",\\\s]+")


class Literal(str):
    """A number of a JSON text, with its digits as they were written."""

    __slots__ = ()


def map_array(text: str, change: Callable[[str], str | None]) -> str:
    """The array with every element changed, at any depth; NULL stays."""
    parts, at = [], text.index("{") if "{" in text else 0
    parts.append(text[:at])
    while at < len(text):
        match = _ELEMENT.match(text, at)
        if match is None:
            parts.append(text[at])
            at += 1
            continue
        parts.append(_changed(match, change))
        at = match.end()
    return "".join(parts)


def elements(text: str) -> list[str]:
    """The elements of an array at any depth, without NULL."""
    found: list[str] = []

    def keep(element: str) -> str:
        found.append(element)
        return element

    map_array(text, keep)
    return found


def _changed(match: re.Match[str], change: Callable[[str], str | None]) -> str:
    if match[1] is None and match[2].strip().upper() == "NULL":
        return "NULL"
    new = change(_ESCAPE.sub(r"\1", match[1]) if match[1] is not None else match[2])
    if new is None:
        return "NULL"
    if _PLAIN.fullmatch(new) and new.upper() != "NULL":
        return new
    return '"' + new.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_json(text: str) -> Any:
    """Numbers are `Literal`; keys that stand twice: the last one, as in jsonb.

    Raises:
        ValueError: no JSON.
    """
    return json.loads(text, parse_float=Literal, parse_int=Literal, parse_constant=Literal)


def write_json(value: Any, *, sort: bool = True) -> str:
    """As jsonb writes it: keys by length and then by bytes, a space behind ``,`` and ``:``."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode())) if sort else list(value)
        inner = ", ".join(f"{_text(key)}: {write_json(value[key], sort=sort)}" for key in keys)
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(write_json(one, sort=sort) for one in value)}]"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
