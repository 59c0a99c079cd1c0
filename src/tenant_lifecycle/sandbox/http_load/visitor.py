"""One session: what it wrote and therefore must see, and the requests it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from tenant_lifecycle.sandbox.http_load.calls import Answer, Call, Taken
from tenant_lifecycle.sandbox.ledger import Effect
from tenant_lifecycle.sandbox.text import Writer as Text
from tenant_lifecycle.sandbox.writes.write import nothing


@dataclass
class Document:
    """A document of this session, as it was last acknowledged."""

    id: str
    v: int
    text: str
    pieces: Sequence[str]


@dataclass
class Visitor:
    """A person or a program that uses the application; nobody else writes what it owns."""

    tenant: str
    #: Its number, unique among all loads.
    number: int
    #: What it says it is, for the counters; the same for all sessions of a load.
    client: str
    collection: str
    random: Random
    text: Text
    taken: Taken
    documents: dict[str, Document] = field(default_factory=dict)
    #: Documents that were certainly deleted.
    deleted: list[str] = field(default_factory=list)
    #: Messages by conversation.
    conversations: dict[str, list[str]] = field(default_factory=dict)
    #: Value by session id; None: ended.
    sessions: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _named: int = 0

    def uuid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def name(self) -> str:
        """Something that no other session says."""
        self._named += 1
        return f"{self.number}x{self._named}"

    def prose(self) -> str:
        """Sentences, each with a word of its own."""
        sentences = [
            f"{self.text.sentence()[:-1]} in case {self.name()}."
            for _ in range(self.random.choice((2, 4, 6, 9)))
        ]
        return " ".join(sentences)

    def any_document(self) -> Document | None:
        """One of its own."""
        return self.random.choice(list(self.documents.values())) if self.documents else None


@dataclass
class Write:
    """A request that changes something, and what must be true once it is acknowledged."""

    kind: str
    call: Call
    effects: list[Effect]
    #: What the session knows when it is acknowledged.
    done: Callable[[Answer], object] = field(default=lambda _: None)
    #: Drops what is not known any more, when the answer was lost.
    forget: Callable[[], object] = nothing
    #: Effects that only the answer tells.
    learned: Callable[[Answer], list[Effect]] = field(default=lambda _: [])
    #: What the answer shows that must not be.
    wrong: Callable[[Answer], list[str]] = field(default=lambda _: [])


@dataclass
class Read:
    """A request that looks at something of the session's own, and what the answer must not show."""

    kind: str
    call: Call
    #: Statuses that are answers.
    expect: Sequence[int]
    wrong: Callable[[Answer], list[str]]


#: Make a request of one kind; None if it is not possible now. ``ref`` names the request that is drawn.
DrawWrite = Callable[[Visitor, str], Write | None]
DrawRead = Callable[[Visitor], Read | None]
