"""The requests that read: whoever wrote something sees it, wherever the answer comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tenant_lifecycle.sandbox.http_load.calls import Answer, Call
from tenant_lifecycle.sandbox.http_load.visitor import DrawRead, Read, Visitor


def get_document(visitor: Visitor) -> Read | None:
    """The text that was put last."""
    document = visitor.any_document()
    if document is None:
        return None
    sha256 = hashlib.sha256(document.text.encode()).hexdigest()
    expected = {"v": document.v, "sha256": sha256, "text": document.text, "chunks": len(document.pieces)}

    def wrong(answer: Answer) -> list[str]:
        if answer.status == 404:
            return [f"document {document.id} is not there"]
        differing = [name for name, value in expected.items() if answer.json[name] != value]
        return [f"document {document.id} differs in {', '.join(differing)}"] if differing else []

    return Read("get_document", Call("GET", f"/documents/{document.id}"), (200, 404), wrong)


def get_deleted(visitor: Visitor) -> Read | None:
    """Nothing."""
    if not visitor.deleted:
        return None
    id = visitor.random.choice(visitor.deleted)
    return Read(
        "get_deleted",
        Call("GET", f"/documents/{id}"),
        (200, 404),
        lambda answer: [f"deleted document {id} is there"] if answer.status == 200 else [],
    )


def search(visitor: Visitor) -> Read | None:
    """For a piece of its own text: that piece is found, and nothing that was deleted."""
    document = visitor.any_document()
    if document is None:
        return None
    ordinal = visitor.random.randrange(len(document.pieces))
    piece = document.pieces[ordinal]

    def wrong(answer: Answer) -> list[str]:
        found = [f"finds deleted document {hit['document']}" for hit in answer.json
                 if hit["document"] in visitor.deleted]  # fmt: skip
        own = [hit for hit in answer.json if (hit["document"], hit["ordinal"]) == (document.id, ordinal)]
        if not own:
            found.append(f"chunk {ordinal} of document {document.id} is not found")
        elif own[0]["content"] != piece or own[0]["v"] != document.v:
            found.append(f"chunk {ordinal} of document {document.id} is an old one")
        return found

    return Read("search", Call("GET", "/search", params={"q": piece}), (200,), wrong)


def get_session(visitor: Visitor) -> Read | None:
    """The value that was put last; of an ended one nothing."""
    if not visitor.sessions:
        return None
    id, value = visitor.random.choice(list(visitor.sessions.items()))

    def wrong(answer: Answer) -> list[str]:
        if value is None:
            return [f"ended session {id} is there"] if answer.status == 200 else []
        return [] if answer.json == value else [f"session {id} has another value"]

    return Read("get_session", Call("GET", f"/sessions/{id}"), (200, 404), wrong)


def get_conversation(visitor: Visitor) -> Read | None:
    """Every message, once, in order."""
    if not visitor.conversations:
        return None
    id, refs = visitor.random.choice(list(visitor.conversations.items()))

    def wrong(answer: Answer) -> list[str]:
        seen = [message["ref"] for message in answer.json]
        return [] if seen == refs else [f"conversation {id} has {len(seen)} messages, not these {len(refs)}"]

    return Read("get_conversation", Call("GET", f"/conversations/{id}"), (200,), wrong)


#: How often each kind is drawn, relative to the others.
READS: Mapping[DrawRead, int] = {
    get_document: 8,
    get_deleted: 3,
    search: 5,
    get_session: 6,
    get_conversation: 3,
}
