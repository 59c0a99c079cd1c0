"""Documents with large texts, their chunks with embeddings, and notes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tenant_lifecycle.sandbox.writes.hand import Document, Draw, Hand, md5
from tenant_lifecycle.sandbox.writes.write import Write


def insert_document(hand: Hand) -> Write:
    """With two chunks; three in ten have a parent."""
    own, id, title, body = hand.own, hand.uuid(), hand.text.title(), _body(hand)
    parent = hand.any_document() if hand.random.random() < 0.3 else None
    parent_id = parent.id if parent else None
    document = Document(id, chunks=2)
    write = Write("insert_document")
    write.run(
        "insert document", id=id, tenant=hand.tenant, collection=hand.random.choice(own.collections),
        parent=parent_id, title=title, body=body, meta=json.dumps({"v": 0, "by": "load"}),
    )  # fmt: skip
    write.put(
        "documents", {"id": id}, title=title, body=md5(body), v="0", tags="load", status="draft",
        parent=parent_id,
    )  # fmt: skip
    for ordinal in range(document.chunks):
        _add_chunk(hand, write, id, ordinal)

    def done() -> None:
        own.documents[id] = document
        if parent is not None:
            parent.children.append(id)

    write.done = done
    if parent is not None:
        # Nobody knows whether it has this child; its deletion would change the child's row.
        write.forget = hand.drop_document(parent)
    return write


def update_document(hand: Hand) -> Write | None:
    """Part of the columns; the large text stays where it is."""
    document = hand.any_document()
    if document is None:
        return None
    version, title, tags = (
        document.version + 1,
        hand.text.title(),
        hand.random.choice(("load", "load,hot", "")),
    )
    write = Write("update_document", forget=hand.drop_document(document))
    write.run("update document", id=document.id, title=title, v=version, tags=tags.split(",") if tags else [])
    write.put("documents", {"id": document.id}, title=title, v=str(version), tags=tags)
    write.done = lambda: setattr(document, "version", version)
    return write


def rewrite_document(hand: Hand) -> Write | None:
    """The large text alone."""
    document = hand.any_document()
    if document is None:
        return None
    body = _body(hand)
    write = Write("rewrite_document", forget=hand.drop_document(document))
    write.run("rewrite document", id=document.id, body=body)
    write.put("documents", {"id": document.id}, body=md5(body))
    return write


def set_status(hand: Hand) -> Write | None:
    """Fires a trigger that writes the keyless audit log, if the status is another."""
    document = hand.any_document()
    if document is None:
        return None
    status = hand.random.choice(("draft", "indexed", "archived", "failed"))
    write = Write("set_status", forget=hand.drop_document(document))
    write.run("set status", id=document.id, status=status)
    write.put("documents", {"id": document.id}, status=status)
    if status != document.status:
        key = {
            "tenant": hand.tenant,
            "actor": "trigger",
            "action": "document.status",
            "document": document.id,
        }
        write.add("audit_log", key, 1)
    write.done = lambda: setattr(document, "status", status)
    return write


def delete_document(hand: Hand) -> Write | None:
    """Declared keys take chunks and notes with it, and set the children's parent to NULL."""
    document = hand.any_document()
    if document is None:
        return None
    children = [id for id in document.children if id in hand.own.documents]
    write = Write("delete_document", done=hand.drop_document(document))
    write.run("delete document", id=document.id)
    write.gone("documents", {"id": document.id})
    for ordinal in range(document.chunks):
        write.gone("chunks", {"document": document.id, "ordinal": str(ordinal)})
    for note in document.notes:
        write.gone("notes", {"body": note})
    for id in children:
        write.put("documents", {"id": id}, parent=None)

    def forget() -> None:
        for id in [document.id, *children]:
            hand.own.documents.pop(id, None)

    write.forget = forget
    return write


def add_note(hand: Hand) -> Write:
    """Owned through its document, or, without one, by the tenant itself."""
    document = hand.any_document() if hand.random.random() < 0.6 else None
    body, id = f"note {hand.ref()}", document.id if document else None
    owner = None if document else hand.tenant
    write = Write("add_note")
    write.run("insert note", document=id, tenant=owner, body=body)
    write.put("notes", {"body": body}, document=id, tenant=owner)
    if document is not None:
        notes = document.notes
        write.done, write.forget = lambda: notes.append(body), hand.drop_document(document)
    return write


def _add_chunk(hand: Hand, write: Write, document: str, ordinal: int) -> None:
    content = hand.text.sentences(2)
    vector = [hand.random.randrange(-16, 16) / 16 for _ in range(32)]
    write.run("insert chunk", id=document, ordinal=ordinal, content=content, vector=vector)
    write.put(
        "chunks", {"document": document, "ordinal": str(ordinal)}, content=md5(content), length=str(len(content)),
        # As the server prints it.
        embedding=f"[{','.join(f'{number:g}' for number in vector)}]",
    )  # fmt: skip


def _body(hand: Hand) -> str:
    """About 12 kB: it stays out of line when it is compressed."""
    return f"{hand.ref()}\n{hand.text.text(9)}"


KINDS: Mapping[Draw, int] = {
    insert_document: 8,
    update_document: 12,
    rewrite_document: 2,
    set_status: 4,
    delete_document: 3,
    add_note: 3,
}
