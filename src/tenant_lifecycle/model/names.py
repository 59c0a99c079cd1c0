"""Small named things that everything else is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

#: A tenant's id, as the application writes it. A hostile string: never pasted into SQL, paths or globs.
TenantId = NewType("TenantId", str)


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table, by schema and name; ``str()`` is ``schema.name`` and for people only, never for SQL."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read ``schema.name``; a bare ``name`` means schema ``public``."""
        schema, dot, name = text.partition(".")
        return cls(schema, name) if dot else cls("public", text)
