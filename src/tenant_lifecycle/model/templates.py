"""Templates of keys, prefixes, namespaces and collections: ``documents/{tenant}/*``, matched anchored.

A placeholder stands for one value, taken literally: tenant ``1`` never matches ``12``, and a tenant called ``*``
matches nothing but itself. One ``*`` stands for anything, also for nothing. ``{{``, ``}}`` and ``**`` are a
literal brace and a literal star.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\*\*|\{([A-Za-z_][A-Za-z0-9_]*)\}|\*|[^{}*]+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A template with its values put in: texts that begin with ``prefix`` and, if ``open``, end with ``suffix``.

    Closed (``open`` false), it is the one text ``prefix``.
    """

    prefix: str
    suffix: str = ""
    open: bool = False

    def matches(self, text: str) -> bool:
        """Whether the text is one of those the pattern stands for; always the whole text."""
        if not self.open:
            return text == self.prefix
        return (
            len(text) >= len(self.prefix) + len(self.suffix)
            and text.startswith(self.prefix)
            and text.endswith(self.suffix)
        )

    def overlaps(self, other: Pattern) -> bool:
        """Whether some text matches both."""
        if not self.open:
            return other.matches(self.prefix)
        if not other.open:
            return self.matches(other.prefix)
        prefixes = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        return prefixes and (self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix))


@dataclass(frozen=True, slots=True)
class _Name:
    """A placeholder."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; ``str()`` gives the text it was parsed from."""

    text: str
    before: tuple[str | _Name, ...]
    #: None: no star.
    after: tuple[str | _Name, ...] | None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            ValueError: empty, a brace that is not closed, or more than one star.
        """
        if not text:
            raise ValueError("a template cannot be empty")
        halves: list[list[str | _Name]] = [[]]
        for match in _TOKEN.finditer(text):
            token, name = match[0], match[1]
            if name is not None:
                halves[-1].append(_Name(name))
            elif token == "*":
                if len(halves) == 2:
                    raise ValueError(f"{text!r} has more than one *; a literal star is written **")
                halves.append([])
            elif token in ("{", "}"):
                raise ValueError(
                    f"{text!r}: a single {token}; a placeholder is {{name}}, a brace is {token * 2}"
                )
            else:
                halves[-1].append(token[0] if token in ("{{", "}}", "**") else token)
        return cls(text, tuple(halves[0]), tuple(halves[1]) if len(halves) == 2 else None)

    @property
    def names(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(part.name for part in (*self.before, *(self.after or ())) if isinstance(part, _Name))

    def fill(self, values: Mapping[str, str]) -> Pattern:
        """Put a value in for every placeholder, taken literally.

        Raises:
            KeyError: a placeholder has no value.
        """

        def text(parts: tuple[str | _Name, ...]) -> str:
            return "".join(values[part.name] if isinstance(part, _Name) else part for part in parts)

        if self.after is None:
            return Pattern(text(self.before))
        return Pattern(text(self.before), text(self.after), open=True)

    def mentions(self, text: str) -> bool:
        """Whether the text could be the template's for *some* values: for finding what no rule mentions."""
        parts = [".+" if isinstance(part, _Name) else re.escape(part) for part in self.before]
        if self.after is not None:
            parts.append(".*")
            parts += [".+" if isinstance(part, _Name) else re.escape(part) for part in self.after]
        return re.fullmatch("".join(parts), text, re.DOTALL) is not None
