"""Conversations, messages and feedback: one, two and three hops away from a tenant column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenant_lifecycle.sandbox.writes.hand import Conversation, Draw, Hand, md5
from tenant_lifecycle.sandbox.writes.write import Write


def insert_conversation(hand: Hand) -> Write:
    """In a collection or over an API key, with one to three messages and perhaps feedback on the last."""
    own, id, title = hand.own, hand.uuid(), hand.text.title()
    filed = hand.random.random() < 0.6
    collection = hand.random.choice(own.collections) if filed else None
    conversation = Conversation(id, filed)
    write = Write("insert_conversation")
    key = None if filed else hand.random.choice(own.api_keys)
    write.run("insert conversation", id=id, collection=collection, key=key, title=title)
    write.put("conversations", {"id": id}, title=title, collection=collection)
    conversation.messages += [_add_message(hand, write, id) for _ in range(hand.random.randrange(1, 4))]
    if hand.random.random() < 0.5:
        ref = conversation.messages[-1]
        conversation.feedback[ref] = _add_feedback(hand, write, ref)

    def done() -> None:
        own.conversations[id] = conversation
        own.messages.update(dict.fromkeys(conversation.messages, id))

    write.done = done
    return write


def append_messages(hand: Hand) -> Write | None:
    """A question and an answer."""
    conversation = hand.any(hand.own.conversations)
    if conversation is None:
        return None
    write = Write("append_messages", forget=lambda: _drop_conversation(hand, conversation))
    refs = [_add_message(hand, write, conversation.id) for _ in range(2)]

    def done() -> None:
        conversation.messages += refs
        hand.own.messages.update(dict.fromkeys(refs, conversation.id))

    write.done = done
    return write


def update_message(hand: Hand) -> Write | None:
    """One number of it."""
    ref = _any_message(hand)
    if ref is None:
        return None
    tokens = hand.random.randrange(10_000)
    write = Write("update_message", forget=lambda: hand.own.messages.pop(ref))
    write.run("update message", ref=ref, tokens=tokens)
    write.put("messages", {"ref": ref}, tokens=str(tokens))
    return write


def delete_message(hand: Hand) -> Write | None:
    """Children first: feedback, then the message."""
    ref = _any_message(hand)
    if ref is None:
        return None
    write = Write("delete_message")
    write.run("delete feedback of message", ref=ref)
    write.run("delete message", ref=ref)
    write.gone("messages", {"ref": ref})
    _feedback_gone(hand, write, [ref])
    write.done = write.forget = lambda: hand.own.messages.pop(ref)
    return write


def delete_conversation(hand: Hand) -> Write | None:
    """Parent first, as applications without declared keys do: for a moment its messages have no owner."""
    conversation = hand.any(hand.own.conversations)
    if conversation is None:
        return None
    write = Write("delete_conversation")
    write.run("delete feedback of conversation", id=conversation.id)
    write.run("delete conversation", id=conversation.id)
    write.run("delete messages of conversation", id=conversation.id)
    write.gone("conversations", {"id": conversation.id})
    left = [ref for ref in conversation.messages if ref in hand.own.messages]
    for ref in left:
        write.gone("messages", {"ref": ref})
    _feedback_gone(hand, write, left)
    write.done = write.forget = lambda: _drop_conversation(hand, conversation)
    return write


def file_conversation(hand: Hand) -> Write | None:
    """It was owned through its API key and is owned through a collection now; the owner stays the same."""
    loose = [one for one in hand.own.conversations.values() if not one.filed]
    if not loose:
        return None
    conversation, collection = hand.random.choice(loose), hand.random.choice(hand.own.collections)
    write = Write("file_conversation", forget=lambda: _drop_conversation(hand, conversation))
    write.run("file conversation", id=conversation.id, collection=collection)
    write.put("conversations", {"id": conversation.id}, collection=collection)
    write.done = lambda: setattr(conversation, "filed", True)
    return write


def _add_message(hand: Hand, write: Write, conversation: str) -> str:
    ref, content, tokens = hand.ref(), hand.text.sentence(), hand.random.randrange(1000)
    write.run("insert message", conversation=conversation, ref=ref, content=content, tokens=tokens)
    write.put("messages", {"ref": ref}, content=md5(content), tokens=str(tokens), conversation=conversation)
    return ref


def _add_feedback(hand: Hand, write: Write, ref: str) -> str:
    id, rating = hand.uuid(), hand.random.randrange(1, 6)
    write.run("insert feedback", id=id, ref=ref, rating=rating)
    write.put("message_feedback", {"id": id}, rating=str(rating))
    return id


def _feedback_gone(hand: Hand, write: Write, refs: Iterable[str]) -> None:
    for ref in refs:
        conversation = hand.own.conversations.get(hand.own.messages[ref])
        if conversation is not None and ref in conversation.feedback:
            write.gone("message_feedback", {"id": conversation.feedback[ref]})


def _any_message(hand: Hand) -> str | None:
    return hand.random.choice(list(hand.own.messages)) if hand.own.messages else None


def _drop_conversation(hand: Hand, conversation: Conversation) -> None:
    hand.own.conversations.pop(conversation.id, None)
    for ref in conversation.messages:
        hand.own.messages.pop(ref, None)


KINDS: Mapping[Draw, int] = {
    insert_conversation: 7,
    append_messages: 14,
    update_message: 6,
    delete_message: 4,
    delete_conversation: 2,
    file_conversation: 2,
}
