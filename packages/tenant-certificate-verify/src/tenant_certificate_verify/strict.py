"""JSON that has one meaning: no duplicate members, no floats, no numbers that some readers round, bounded size."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NoReturn

MOST_BYTES = 16 * 1024 * 1024
_MOST = 2**53 - 1
_MOST_DIGITS = 17
_MOST_DEPTH = 32


class Invalid(Exception):
    """What is checked is wrong; the text says how."""


class Untrusted(Exception):
    """What is checked may be right, but nothing that the policy trusts says so."""


def parse(data: bytes, what: str) -> dict[str, Any]:
    """The object that the bytes are; ``what`` is what errors call it.

    Raises:
        Invalid: not UTF-8, not one JSON object, a duplicate member, a float, a number beyond 2**53, too large or deep.
    """
    if len(data) > MOST_BYTES:
        raise Invalid(f"{what}: larger than {MOST_BYTES} bytes")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(found)
        if len(members) != len(found):
            raise Invalid(f"{what}: a member stands in an object twice")
        return members

    def no_float(text: str) -> NoReturn:
        raise Invalid(f"{what}: {text[:40]} is no whole number")

    def whole(text: str) -> int:
        if len(text) > _MOST_DIGITS or abs(int(text)) > _MOST:
            raise Invalid(f"{what}: a number is larger than every reader keeps exactly")
        return int(text)

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=pairs,
            parse_float=no_float,
            parse_constant=no_float,
            parse_int=whole,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Invalid(f"{what}: not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise Invalid(f"{what}: not an object")
    _depth(value, what, 0)
    return value


def members(value: dict[str, Any], names: set[str], what: str) -> None:
    """Raises Invalid unless the object has exactly these members."""
    if set(value) != names:
        odd = sorted(set(value) ^ names)
        raise Invalid(f"{what}: missing or unknown: {', '.join(odd)[:200]}")


def from_base64(text: object, what: str) -> bytes:
    """The bytes of standard base64 with padding, in its one spelling.

    Raises:
        Invalid: it is something else.
    """
    if not isinstance(text, str):
        raise Invalid(f"{what}: no text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{what}: no base64") from error
    if base64.b64encode(data).decode() != text:
        raise Invalid(f"{what}: base64 with another spelling than the one")
    return data


def _depth(value: object, what: str, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise Invalid(f"{what}: too deep")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _depth(inner, what, depth + 1)
