"""Goes through structured values by the rules of a registry: to find what has no rule, to collect, and to change.

A value is what JSON has, and bytes. A rule for a whole branch goes for everything in it. Keys of a mapping that have
no rule of their own fall under ``*``; they are data then, and change with it unless it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.masking.classes import DataClass, Rule
from tenant_lifecycle.masking.pgtext import Literal, parse_json, write_json

ANY, ELEMENTS = "*", "[]"
#: Changes one text by a rule; None: nothing is to stand there.
Change = Callable[[Rule, str], str | None]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text somewhere inside, with its rule; None: it has none."""

    path: str
    rule: Rule | None
    text: str


def leaves(value: Any, rule: Rule, path: str) -> Iterator[Leaf]:
    """Every text and number inside, and every key that is data."""
    if value is None or isinstance(value, bool):
        return
    if rule.cls is DataClass.JSON:
        yield from _ruled_leaves(value, rule, path)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if not _names_nobody(rule):
                yield Leaf(f"{path}.{ANY}", rule, str(key))
            yield from leaves(one, rule, f"{path}.{ANY}")
    elif isinstance(value, list | tuple) and rule.cls is not DataClass.EMBEDDING:
        for one in value:
            yield from leaves(one, rule, f"{path}{ELEMENTS}")
    else:
        yield Leaf(path, rule, as_text(value))


def _ruled_leaves(value: Any, rule: Rule, path: str) -> Iterator[Leaf]:
    if isinstance(value, str | bytes) and not isinstance(value, Literal):
        inner = _parsed(value)
        if inner is None:
            yield Leaf(f"{path} (not JSON)", None, "")
        else:
            yield from leaves(inner, rule, path)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _member_leaves(key, one, rule, path)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _under(one, rule.children.get(ELEMENTS), f"{path}{ELEMENTS}")
    else:
        yield Leaf(f"{path} (a bare number)", None, "")


def _member_leaves(key: str, value: Any, rule: Rule, path: str) -> Iterator[Leaf]:
    if key in rule.children:
        yield from _under(value, rule.children[key], f"{path}.{key}")
        return
    other = rule.children.get(ANY)
    if other is not None and not _names_nobody(other):
        yield Leaf(f"{path}.{ANY}", other, key)
    yield from _under(value, other, f"{path}.{ANY if other else _shown(key)}")


def _under(value: Any, rule: Rule | None, path: str) -> Iterator[Leaf]:
    if rule is None:
        yield Leaf(path, None, "")
    else:
        yield from leaves(value, rule, path)


def _shown(key: str) -> str:
    """A key that looks like one of a program; others may be somebody's name."""
    return (
        key if key.isascii() and key.replace("_", "").isalnum() and len(key) <= 40 else "(a key that is data)"
    )


def changed(value: Any, rule: Rule, change: Change) -> Any:
    """The value with every text and number changed by its rule; what has no rule is left out."""
    if value is None or isinstance(value, bool):
        return value
    if rule.cls is DataClass.JSON:
        return _ruled_change(value, rule, change)
    if isinstance(value, Mapping):
        return {_key(str(key), rule, change): changed(one, rule, change) for key, one in value.items()}
    if isinstance(value, list | tuple) and rule.cls is not DataClass.EMBEDDING:
        return [changed(one, rule, change) for one in value]
    return _leaf(value, rule, change)


def _ruled_change(value: Any, rule: Rule, change: Change) -> Any:
    if isinstance(value, bytes):
        inner = _ruled_change(value.decode(errors="replace"), rule, change)
        return None if inner is None else inner.encode()
    if isinstance(value, str) and not isinstance(value, Literal):
        inner = _parsed(value)
        return None if inner is None else write_json(changed(inner, rule, change), sort=False)
    if isinstance(value, Mapping):
        return dict(_members(value, rule, change))
    if isinstance(value, list | tuple) and ELEMENTS in rule.children:
        return [changed(one, rule.children[ELEMENTS], change) for one in value]
    return None


def _members(value: Mapping[str, Any], rule: Rule, change: Change) -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if key in rule.children:
            yield key, changed(one, rule.children[key], change)
        elif (other := rule.children.get(ANY)) is not None:
            yield _key(key, other, change), changed(one, other, change)


def _key(key: str, rule: Rule, change: Change) -> str:
    return key if _names_nobody(rule) else (change(rule, key) or "")


def _names_nobody(rule: Rule) -> bool:
    """Whether keys of a mapping under the rule are names that a program gave."""
    return rule.cls in (DataClass.JSON, DataClass.EMBEDDING) or rule.kind == "keep"


def _leaf(value: Any, rule: Rule, change: Change) -> Any:
    if rule.kind == "keep":
        return value
    if isinstance(value, bytes) and not is_text(value):
        return b""
    new = change(rule, as_text(value))
    if new is None:
        return None
    if isinstance(value, bytes):
        return new.encode(errors="surrogateescape")
    if isinstance(value, list | tuple):
        return [float(number) for number in new.strip("[]").split(",")]
    if isinstance(value, int | float | Literal):
        return _number(new, value)
    return new


def _number(text: str, like: Any) -> Any:
    """A number where it is one still; a float where services know no other numbers."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if isinstance(like, float) else Literal(text)


def as_text(value: Any) -> str:
    """A leaf as text; bytes that are no text keep what they are for a transformer to see (surrogates)."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def is_text(data: bytes) -> bool:
    """Whether bytes can be read, and so be masked."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _parsed(value: str | bytes) -> Any:
    try:
        return parse_json(value.decode() if isinstance(value, bytes) else value)
    except ValueError:
        return None
