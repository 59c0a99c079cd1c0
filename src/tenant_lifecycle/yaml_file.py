"""Strict YAML with line numbers: every mistake in a configuration file is an error that says where it is.

A file becomes a tree of `Node`; whoever knows the format asks each node for what it must be. Duplicate and
unknown keys, wrong types and missing variables are `ConfigError` with ``file:line: where: what``.
YAML 1.2: ``yes`` and ``no`` are text. Tags and merge keys are refused.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.durations import parse_duration

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_PREFIX = "tag:yaml.org,2002:"
_KINDS = {"null": "nothing", "bool": "true or false", "int": "a number", "float": "a number", "str": "text"}


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a file, with its place in it; the methods turn it into Python or raise `ConfigError`."""

    #: The file's name, as it was given.
    file: str
    #: First line is 1; of a mapping's value it is the line of its key.
    line: int
    #: The way from the top: ``environments.blue.stores[0]``; empty for the whole file.
    path: str
    _raw: Any = field(repr=False)
    #: Where variables come from; None: ``${...}`` is ordinary text.
    _environ: Mapping[str, str] | None = field(repr=False, default=None)

    def error(self, message: str, *, next_step: str = "") -> ConfigError:
        """An error about this place, to be raised by the caller."""
        where = f"{self.path}: " if self.path else ""
        return ConfigError(f"{self.file}:{self.line}: {where}{message}", next_step=next_step)

    @property
    def is_null(self) -> bool:
        """Whether nothing stands there (``key:``)."""
        return self._raw is None or self._kind() == "null"

    @property
    def is_mapping(self) -> bool:
        """Whether keys and values stand there."""
        return isinstance(self._raw, MappingNode)

    def mapping(
        self, allowed: Collection[str] | None = None, *, required: Iterable[str] = ()
    ) -> dict[str, Node]:
        """Its values by key, in the order of the file.

        ``allowed`` are the valid keys, None if the file chooses them; another key is an error that names
        the nearest valid one.
        """
        if not isinstance(self._raw, MappingNode):
            raise self.error(f"expected keys and values, found {self._found()}")
        _refuse_tag(self, "map")
        found: dict[str, Node] = {}
        for raw_key, raw_value in self._raw.value:
            key, line = self._key(raw_key)
            child = Node(
                self.file, line, f"{self.path}.{key}" if self.path else key, raw_value, self._environ
            )
            if key in found:
                raise child.error(
                    f"the key {key!r} stands here a second time; first in line {found[key].line}"
                )
            if allowed is not None and key not in allowed:
                raise child.error(f"unknown key {key!r}; {_nearest(key, allowed)}")
            found[key] = child
        missing = [key for key in required if key not in found]
        if missing:
            raise self.error(f"the key {missing[0]!r} is missing")
        return found

    def list(self) -> list[Node]:
        """Its items, in order."""
        if not isinstance(self._raw, SequenceNode):
            raise self.error(f"expected a list, found {self._found()}")
        _refuse_tag(self, "seq")
        return [
            Node(self.file, item.start_mark.line + 1, f"{self.path}[{index}]", item, self._environ)
            for index, item in enumerate(self._raw.value)
        ]

    def text(self) -> str:
        """Its text, not empty, with variables filled in; numbers and true/false need quotes to be text."""
        kind = self._kind()
        if kind != "str":
            hint = "; put it in quotes" if kind in ("int", "float", "bool") else ""
            raise self.error(f"expected text, found {self._found()}{hint}")
        text, _ = self._filled()
        if not text:
            raise self.error("expected text, found an empty one")
        return text

    def integer(self, *, minimum: int | None = None, maximum: int | None = None) -> int:
        """Its whole number."""
        number = int(self._number("a whole number", _INTEGER, ("int",)))
        self._refuse_outside(number, minimum, maximum)
        return number

    def number(self, *, minimum: float | None = None, maximum: float | None = None) -> float:
        """Its number, whole or not."""
        number = float(self._number("a number", _NUMBER, ("int", "float")))
        self._refuse_outside(number, minimum, maximum)
        return number

    def seconds(self, *, positive: bool = False) -> float:
        """Its duration (``300ms``, ``24h``) in seconds; ``positive``: longer than nothing."""
        try:
            seconds = parse_duration(self.text())
        except ValueError as exc:
            raise self.error(str(exc)) from exc
        if not math.isfinite(seconds):
            raise self.error("the duration is too long")
        if positive and seconds <= 0:
            raise self.error("the duration must be longer than nothing")
        return seconds

    def boolean(self) -> bool:
        """True or false."""
        text, substituted = self._filled() if isinstance(self._raw, ScalarNode) else ("", False)
        if (self._kind() == "bool" or substituted) and text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise self.error(f"expected true or false, found {self._found()}")

    def scalar(self) -> str | int | float | bool:
        """Its text, number, or true or false, whichever it is."""
        kind = self._kind()
        if kind == "bool":
            return self.boolean()
        if kind == "int":
            return self.integer()
        return self.number() if kind == "float" else self.text()

    def choice(self, choices: Collection[str]) -> str:
        """Its text, which is one of ``choices``."""
        text = self.text()
        if text not in choices:
            said = "the value of the variable" if self._filled()[1] else repr(text)
            raise self.error(f"{said} is not a valid choice; {_nearest(text, choices)}")
        return text

    def _kind(self) -> str:
        """The YAML type of a scalar without its prefix; another word for what is no scalar."""
        if not isinstance(self._raw, ScalarNode):
            return "nothing" if self._raw is None else "collection"
        return str(self._raw.tag).removeprefix(_PREFIX)

    def _found(self) -> str:
        if self._raw is None:
            return "nothing"
        if isinstance(self._raw, MappingNode):
            return "keys and values"
        if isinstance(self._raw, SequenceNode):
            return "a list"
        return _KINDS.get(self._kind(), f"the tag {self._raw.tag}")

    def _filled(self) -> tuple[str, bool]:
        """The scalar's text with variables filled in, and whether there were any."""
        text = str(self._raw.value)
        environ = self._environ
        if environ is None or "${" not in text:
            return text, False
        substituted = False

        def fill(match: re.Match[str]) -> str:
            nonlocal substituted
            if match[0] == "$${":
                return "${"
            substituted = True
            if not match[0].endswith("}") or not _NAME.fullmatch(match[1]):
                raise self.error(f"{match[0]!r} names no variable; write ${{NAME}}, or $${{ for the text ${{")
            if match[1] not in environ:
                raise self.error(
                    f"the environment variable {match[1]} is not set", next_step=f"export {match[1]}=..."
                )
            return environ[match[1]]

        return _VARIABLE.sub(fill, text), substituted

    def _number(self, expected: str, form: re.Pattern[str], kinds: tuple[str, ...]) -> str:
        """Text of a number: written as one, or the value of a variable that looks like one."""
        if isinstance(self._raw, ScalarNode):
            text, substituted = self._filled()
            if (self._kind() in kinds or substituted) and form.fullmatch(text.replace("_", "")):
                return text.replace("_", "")
        raise self.error(f"expected {expected}, found {self._found()}")

    def _refuse_outside(self, number: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and number < minimum:
            raise self.error(f"{number} is too small; the smallest is {minimum}")
        if maximum is not None and number > maximum:
            raise self.error(f"{number} is too large; the largest is {maximum}")

    def _key(self, raw: Any) -> tuple[str, int]:
        line = raw.start_mark.line + 1
        if not isinstance(raw, ScalarNode) or str(raw.tag) in (f"{_PREFIX}null", f"{_PREFIX}merge"):
            raise Node(self.file, line, self.path, raw).error("a key must be a plain word here")
        return str(raw.value), line


def load(path: Path, *, substitute: bool = True, environ: Mapping[str, str] | None = None) -> Node:
    """Read a file.

    ``substitute`` fills ``${VAR}`` from ``environ`` (the process's by default); ``$${`` stands for ``${``.

    Raises:
        ConfigError: it cannot be read or is no YAML. Everything else is found when nodes are asked.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: there is no such file", next_step="tenantctl init") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    return parse(text, str(path), substitute=substitute, environ=environ)


def parse(text: str, file: str, *, substitute: bool = True, environ: Mapping[str, str] | None = None) -> Node:
    """Like `load`, from text; ``file`` is what errors call it."""
    try:
        raw = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{file}:{line}: not valid YAML: {exc.problem or exc.context}") from exc
    except YAMLError as exc:
        raise ConfigError(f"{file}:1: not valid YAML: {exc}") from exc
    variables = (os.environ if environ is None else environ) if substitute else None
    return Node(file, raw.start_mark.line + 1 if raw is not None else 1, "", raw, variables)


def _refuse_tag(node: Node, expected: str) -> None:
    tag = str(node._raw.tag)
    if tag != _PREFIX + expected:
        raise node.error(f"tags such as {tag} are not allowed")


def _nearest(given: str, valid: Collection[str]) -> str:
    close = difflib.get_close_matches(given.lower(), sorted(valid), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are {', '.join(sorted(valid))}"
