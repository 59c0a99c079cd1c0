"""Names made of ids: keys, prefixes, namespaces, vector ids, file names, by the form that the registry gives.

``documents/{tenant}/{document}.txt``: ``{tenant}`` is the tenant, taken literally; ``{keep}`` stays; ``{text}`` is
masked as prose; ``{opaque}`` is an id of its own; ``{document}`` and ``{message:integer}`` are ids of that domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenant_lifecycle.masking.setting import Setting

_HOLE = re.compile(r"\{([a-z_]+)(?::(uuid|integer|opaque))?\}")
#: What a hole of each kind may hold.
_HOLDS: Mapping[str, str] = {
    "uuid": r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
    "integer": r"-?[0-9]+",
    "opaque": r".*?",
    "text": r".*?",
    "keep": r".*?",
}


@dataclass(frozen=True, slots=True)
class _Hole:
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class NameForm:
    """A form of names."""

    text: str
    parts: tuple[str | _Hole, ...]

    @classmethod
    def parse(cls, text: str) -> NameForm:
        """Read a form.

        Raises:
            ValueError: a brace belongs to no hole.
        """
        parts: list[str | _Hole] = []
        at = 0
        for match in _HOLE.finditer(text):
            parts += [text[at : match.start()], _Hole(match[1], _kind(match[1], match[2]))]
            at = match.end()
        parts.append(text[at:])
        if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
            raise ValueError(
                f"{text!r}: write {{tenant}}, {{keep}}, {{text}}, {{opaque}}, {{domain}} or {{domain:integer}}"
            )
        return cls(text, tuple(part for part in parts if part))

    def holes(self) -> list[tuple[str, str]]:
        """Name and kind of the ids in it."""
        return [(part.name, part.kind) for part in self.parts if isinstance(part, _Hole)]

    def read(self, name: str, tenant: str) -> list[str] | None:
        """What stands in the holes, in order; None: the name has another form. Always the whole name."""
        pattern = "".join(
            re.escape(part)
            if isinstance(part, str)
            else f"({re.escape(tenant) if part.kind == 'tenant' else _HOLDS[part.kind]})"
            for part in self.parts
        )
        match = re.fullmatch(pattern, name, re.DOTALL)
        return None if match is None else list(match.groups())

    def masked(self, name: str, setting: Setting) -> str | None:
        """The clone's name; None: the name has another form."""
        found = self.read(name, setting.target.tenant)
        if found is None:
            return None
        values = iter(found)
        return "".join(
            part if isinstance(part, str) else _MASKS[part.kind](part.name, next(values), setting)
            for part in self.parts
        )


def _kind(name: str, kind: str | None) -> str:
    if name in ("tenant", "keep", "text"):
        return name
    return kind or ("opaque" if name == "opaque" else "uuid")


_MASKS: Mapping[str, Callable[[str, str, Setting], str]] = {
    "tenant": lambda _name, _value, setting: setting.target.target,
    "keep": lambda _name, value, _setting: value,
    "text": lambda _name, value, setting: setting.text(value),
    "uuid": lambda _name, value, setting: setting.uuids(value) or value,
    "integer": lambda name, value, setting: str(setting.integers(name)(int(value))),
    "opaque": lambda name, value, setting: setting.texts(name)(value),
}
