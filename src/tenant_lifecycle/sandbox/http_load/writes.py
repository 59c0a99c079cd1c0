"""The requests that write, and what each must leave behind in every store."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tenant_lifecycle.sandbox.http_load import expected
from tenant_lifecycle.sandbox.http_load.calls import Answer, Call
from tenant_lifecycle.sandbox.http_load.visitor import Document, DrawWrite, Visitor, Write
from tenant_lifecycle.sandbox.items import digest
from tenant_lifecycle.sandbox.ledger import Do, Effect


def put_document(visitor: Visitor, ref: str) -> Write:
    """A new one."""
    return _put(visitor, ref, "put_document", visitor.uuid(), None)


def replace_document(visitor: Visitor, ref: str) -> Write | None:
    """Another text, with more or fewer chunks."""
    document = visitor.any_document()
    return None if document is None else _put(visitor, ref, "replace_document", document.id, document)


def delete_document(visitor: Visitor, ref: str) -> Write | None:
    """The row, its chunks, its object and its vectors go."""
    document = visitor.any_document()
    if document is None:
        return None
    id = document.id
    effects = [
        Effect(Do.GONE, "documents", {"id": id}),
        Effect(Do.GONE, "objects", {"key": f"documents/{visitor.tenant}/{id}.txt"}),
        *expected.chunks_gone(visitor.collection, id, range(len(document.pieces))),
        *expected.recorded(visitor.tenant, visitor.client, "document.delete", ref, document=id),
    ]

    def done(_: Answer) -> None:
        del visitor.documents[id]
        visitor.deleted.append(id)

    return Write(
        "delete_document",
        Call("DELETE", f"/documents/{id}"),
        effects,
        done,
        lambda: visitor.documents.pop(id, None),
    )


def ask(visitor: Visitor, ref: str) -> Write:
    """About a text of its own, or about nothing; sometimes the same question again. Never cites what is gone."""
    document = visitor.any_document()
    question = document.pieces[0] if document else f"Who knows about case {visitor.name()}?"
    fresh = not visitor.conversations or visitor.random.random() < 0.4
    conversation = visitor.uuid() if fresh else visitor.random.choice(list(visitor.conversations))
    kept_at = {"key": f"answer:{visitor.tenant}:{digest(question.encode())[:32]}"}
    effects = [
        # Until the answer is seen, whatever is kept may be it: a repeated request does not say what the first kept.
        Effect(Do.MAY, "redis:answer", kept_at),
        Effect(Do.PUT, "conversations", {"id": conversation}, {"collection": visitor.collection}),
        expected.message(f"{ref}-user", conversation, question),
        Effect(Do.PUT, "messages", {"ref": f"{ref}-assistant"}, {"conversation": conversation}),
        *expected.recorded(visitor.tenant, visitor.client, "ask", ref, conversation=conversation),
    ]

    def done(_: Answer) -> None:
        refs = visitor.conversations.setdefault(conversation, [])
        refs += [f"{ref}-user", f"{ref}-assistant"]

    def learned(answer: Answer) -> list[Effect]:
        if answer.json["repeated"]:
            return []
        kept = {"answer": answer.json["answer"], "cites": answer.json["cites"]}
        return [
            expected.message(f"{ref}-assistant", conversation, answer.json["answer"]),
            Effect(Do.MAY, "redis:answer", kept_at, {"value": json.dumps(kept), "expires": "yes"}),
        ]

    def wrong(answer: Answer) -> list[str]:
        cited = {(cite["document"], cite["ordinal"]): cite["v"] for cite in answer.json["cites"]}
        found = [f"cites deleted document {id}" for id, _ in cited if id in visitor.deleted]
        if document is not None and not answer.json["repeated"]:
            version = cited.get((document.id, 0))
            if version != document.v:
                found.append(f"{document.id}: cites version {version}, not {document.v}")
        return found

    return Write(
        "ask",
        Call("POST", "/ask", {"question": question, "conversation": conversation}),
        effects,
        done,
        lambda: visitor.conversations.pop(conversation, None),
        learned,
        wrong,
    )


def put_session(visitor: Visitor, ref: str) -> Write:
    """One of a dozen sessions gets a new value."""
    id = f"{visitor.number}.{visitor.random.randrange(12)}"
    value = {"cursor": ref, "filters": [visitor.name(), "größer"]}
    key = {"key": f"session:{visitor.tenant}:{id}"}
    text = json.dumps(value, sort_keys=True)
    return Write(
        "put_session",
        Call("PUT", f"/sessions/{id}", value),
        [Effect(Do.PUT, "redis:session", key, {"value": text, "expires": "yes"})],
        lambda _: visitor.sessions.update({id: value}),
        lambda: visitor.sessions.pop(id, None),
    )


def end_session(visitor: Visitor, _ref: str) -> Write | None:
    """One of them ends."""
    open_ = [id for id, value in visitor.sessions.items() if value is not None]
    if not open_:
        return None
    id = visitor.random.choice(open_)
    return Write(
        "end_session",
        Call("DELETE", f"/sessions/{id}"),
        [Effect(Do.GONE, "redis:session", {"key": f"session:{visitor.tenant}:{id}"})],
        lambda _: visitor.sessions.update({id: None}),
        lambda: visitor.sessions.pop(id, None),
    )


def take_events(visitor: Visitor, _ref: str) -> Write:
    """As a worker would; what it got, nobody gets again."""

    def learned(answer: Answer) -> list[Effect]:
        key = f"events:{visitor.tenant}"
        return [
            Effect(Do.PUT, "redis:taken", {"key": key, "entry": event["id"]}, {"state": "done"})
            for event in answer.json
        ]

    def wrong(answer: Answer) -> list[str]:
        return [
            f"event {id} was given out twice" for id in visitor.taken.again([e["id"] for e in answer.json])
        ]

    # Sent again, it would be answered with nothing, and nobody would know what the first answer was.
    call = Call("POST", "/events/take", {"consumer": str(visitor.number), "count": 20}, repeatable=False)
    return Write("take_events", call, [], learned=learned, wrong=wrong)


def _put(visitor: Visitor, ref: str, kind: str, id: str, before: Document | None) -> Write:
    title, text = f"{visitor.text.title()} – {visitor.name()}", visitor.prose()
    document = Document(id, before.v + 1 if before else 1, text, expected.pieces(text))
    chunks = len(before.pieces) if before else 0
    effects = expected.document_effects(
        visitor.tenant, visitor.collection, id, title, text, document.v, chunks
    )
    effects += expected.recorded(visitor.tenant, visitor.client, "document.put", ref, document=id)
    return Write(
        kind,
        Call("PUT", f"/documents/{id}", {"title": title, "text": text}),
        effects,
        lambda _: visitor.documents.update({id: document}),
        lambda: visitor.documents.pop(id, None),
    )


#: How often each kind is drawn, relative to the others.
WRITES: Mapping[DrawWrite, int] = {
    put_document: 8,
    replace_document: 6,
    delete_document: 4,
    ask: 8,
    put_session: 10,
    end_session: 2,
    take_events: 3,
}
