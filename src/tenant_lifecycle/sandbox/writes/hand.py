"""One writer: what it owns, and its source of chance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar
from uuid import UUID

from tenant_lifecycle.sandbox.text import Writer as Text
from tenant_lifecycle.sandbox.writes.write import Write

T = TypeVar("T")


@dataclass
class Document:
    """A document of this writer, as last acknowledged."""

    id: str
    version: int = 0
    status: str = "draft"
    chunks: int = 0
    notes: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)


@dataclass
class Conversation:
    """A conversation of this writer."""

    id: str
    #: Whether it belongs to a collection.
    filed: bool
    #: What the client called its messages.
    messages: list[str] = field(default_factory=list)
    #: Feedback by message.
    feedback: dict[str, str] = field(default_factory=dict)


@dataclass
class Setting:
    """A setting of this writer."""

    section: str
    name: str
    slug: str
    version: int = 0


@dataclass
class Belongings:
    """Rows that one writer owns: nobody else writes them."""

    #: The tenant's own, to be referred to; never written.
    collections: list[str]
    api_keys: list[str]
    documents: dict[str, Document] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    #: Conversation by message.
    messages: dict[str, str] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    #: Month by kind.
    events: dict[str, int] = field(default_factory=dict)
    people: list[str] = field(default_factory=list)
    #: How many equal rows there are, by actor.
    audits: dict[str, int] = field(default_factory=dict)
    bookmarks: list[tuple[str, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@dataclass
class Hand:
    """One writer of one tenant."""

    tenant: str
    #: Its number, unique among all loads.
    writer: int
    random: Random
    text: Text
    own: Belongings
    _named: int = 0

    def ref(self) -> str:
        """A name that no other writer, tenant or run makes."""
        self._named += 1
        return f"{self.writer}-{self._named}"

    def uuid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def any(self, things: dict[str, T]) -> T | None:
        """One of them; None if there is none."""
        return self.random.choice(list(things.values())) if things else None

    def any_document(self) -> Document | None:
        """One of its own."""
        return self.any(self.own.documents)

    def drop_document(self, document: Document) -> Callable[[], object]:
        """What forgets it."""
        return lambda: self.own.documents.pop(document.id, None)


#: Makes a write of one kind; None if it is not possible now.
Draw = Callable[[Hand], Write | None]


def md5(text: str) -> str:
    """As the server's ``md5()``."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
