"""What the sample application's writers do: the mix of writes, and what each must leave behind.

Nothing here talks to a database. A writer owns rows (those it made, and a slice of the seeded ones that it
claimed), so the last acknowledged value of a row is known; counters are shared by all writers of a tenant.
All ids are chosen before the write goes out: it can be sent again, and checked when the answer is lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, LiteralString
from uuid import UUID

from tenant_lifecycle.sandbox.ledger import Do, Effect
from tenant_lifecycle.sandbox.text import Writer as TextWriter

Statement = tuple[LiteralString, Mapping[str, Any]]


@dataclass
class Document:
    """A document of this writer, as last acknowledged."""

    id: str
    version: int = 0
    status: str = "draft"
    chunks: int = 0
    notes: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    parent: str | None = None


@dataclass
class Conversation:
    """A conversation of this writer; ``messages`` holds what the client called them."""

    id: str
    filed: bool
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

    collections: list[str]
    api_keys: list[str]
    documents: dict[str, Document] = field(default_factory=dict)
    conversations: dict[str, Conversation] = field(default_factory=dict)
    #: Conversation by the message's name.
    messages: dict[str, str] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    people: list[str] = field(default_factory=list)
    #: How many equal rows there are, by actor.
    audits: dict[str, int] = field(default_factory=dict)
    bookmarks: list[tuple[str, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Write:
    """One transaction of the application."""

    kind: str
    statements: tuple[Statement, ...]
    effects: tuple[Effect, ...]
    #: What the writer knows when it is acknowledged.
    done: Callable[[], None]
    #: Drops the rows whose state is not known any more, when the answer was lost.
    forget: Callable[[], None] = lambda: None
    #: Row changes, for bulk writes.
    rows: int = 0


def _nothing() -> None:
    return None


def md5(text: str) -> str:
    """As the server's ``md5()``."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _as_text(vector: list[float]) -> str:
    """As the server prints it."""
    return f"[{','.join(f'{number:g}' for number in vector)}]"


class Mix:
    """Draws the next write of one writer of one tenant."""

    def __init__(
        self,
        tenant: str,
        writer: int,
        random: Random,
        text: TextWriter,
        own: Belongings,
        kinds: frozenset[str],
    ) -> None:
        self._tenant = tenant
        self._writer = writer
        self._random = random
        self._text = text
        self._own = own
        self._number = 0
        weights = {kind: weight for kind, weight in WEIGHTS.items() if not kinds or kind in kinds}
        self._kinds, self._weights = list(weights), list(weights.values())

    def next(self) -> Write:
        """Some write that is possible now; one kind in a row needs others before it (nothing to delete yet)."""
        while True:
            kind = self._random.choices(self._kinds, self._weights)[0]
            self._number += 1
            write: Write | None = getattr(self, "_" + kind)()
            if write is not None:
                return write

    # -- documents ------------------------------------------------------------------------------

    def _insert_document(self) -> Write:
        own, id = self._own, self._uuid()
        parent = self._any_document() if self._random.random() < 0.3 else None
        document = Document(id, chunks=2, parent=parent.id if parent else None)
        body, title = self._body(), self._text.title()
        values = {
            "id": id, "tenant": self._tenant, "collection": self._random.choice(own.collections),
            "parent": document.parent, "title": title, "body": body, "meta": json.dumps({"v": 0, "by": "load"}),
        }  # fmt: skip
        statements: list[Statement] = [(_INSERT_DOCUMENT, values)]
        effects = [
            self._put(
                "documents",
                {"id": id},
                title=title,
                body=md5(body),
                v="0",
                tags="load",
                status="draft",
                parent=document.parent,
            )
        ]
        for ordinal in range(document.chunks):
            content = self._text.sentences(2)
            vector = [self._random.randrange(-16, 16) / 16 for _ in range(32)]
            statements.append(
                (_INSERT_CHUNK, {"id": id, "ordinal": ordinal, "content": content, "vector": vector})
            )
            effects.append(
                self._put(
                    "chunks",
                    {"document": id, "ordinal": str(ordinal)},
                    content=md5(content),
                    length=str(len(content)),
                    embedding=_as_text(vector),
                )
            )

        def done() -> None:
            own.documents[id] = document
            if parent is not None and parent.id in own.documents:
                own.documents[parent.id].children.append(id)

        return self._write("insert_document", statements, effects, done)

    def _update_document(self) -> Write | None:
        """Part of the columns; the large body stays where it is."""
        document = self._any_document()
        if document is None:
            return None
        version, title, tags = (
            document.version + 1,
            self._text.title(),
            self._random.choice(("load", "load,hot", "")),
        )
        statement = (
            _UPDATE_DOCUMENT,
            {"id": document.id, "title": title, "v": version, "tags": tags.split(",") if tags else []},
        )
        effect = self._put("documents", {"id": document.id}, title=title, v=str(version), tags=tags)

        def done() -> None:
            document.version = version

        return self._write("update_document", [statement], [effect], done, self._forget_document(document))

    def _rewrite_document(self) -> Write | None:
        document = self._any_document()
        if document is None:
            return None
        body = self._body()
        statement = (
            "UPDATE documents SET body = %(body)s WHERE id = %(id)s",
            {"id": document.id, "body": body},
        )
        effect = self._put("documents", {"id": document.id}, body=md5(body))
        return self._write(
            "rewrite_document", [statement], [effect], _nothing, self._forget_document(document)
        )

    def _set_status(self) -> Write | None:
        """Fires a trigger that writes the keyless audit log."""
        document = self._any_document()
        if document is None:
            return None
        status = self._random.choice(("draft", "indexed", "archived", "failed"))
        statement = (
            "UPDATE documents SET status = %(status)s WHERE id = %(id)s",
            {"id": document.id, "status": status},
        )
        effects = [self._put("documents", {"id": document.id}, status=status)]
        if status != document.status:
            effects.append(self._audited("trigger", "document.status", document.id, 1))

        def done() -> None:
            document.status = status

        return self._write("set_status", [statement], effects, done, self._forget_document(document))

    def _delete_document(self) -> Write | None:
        """Declared keys take chunks and notes with it, and set the children's parent to NULL."""
        document = self._any_document()
        if document is None:
            return None
        effects = [Effect(Do.GONE, "documents", {"id": document.id})]
        effects += [
            Effect(Do.GONE, "chunks", {"document": document.id, "ordinal": str(ordinal)})
            for ordinal in range(document.chunks)
        ]
        effects += [Effect(Do.GONE, "notes", {"body": note}) for note in document.notes]
        children = [id for id in document.children if id in self._own.documents]
        effects += [self._put("documents", {"id": id}, parent=None) for id in children]

        def done() -> None:
            del self._own.documents[document.id]

        def forget() -> None:
            for id in [document.id, *children]:
                self._own.documents.pop(id, None)

        statement = ("DELETE FROM documents WHERE id = %(id)s", {"id": document.id})
        return self._write("delete_document", [statement], effects, done, forget)

    def _add_note(self) -> Write:
        """Owned through its document, or, without one, by the tenant itself."""
        document = self._any_document() if self._random.random() < 0.6 else None
        body = f"note {self._ref()}"
        owner = None if document else self._tenant
        statement = (
            "INSERT INTO notes (document_id, tenant_id, body) VALUES (%(document)s, %(tenant)s, %(body)s)",
            {"document": document.id if document else None, "tenant": owner, "body": body},
        )
        effect = self._put("notes", {"body": body}, document=document.id if document else None, tenant=owner)

        def done() -> None:
            if document:
                document.notes.append(body)

        return self._write(
            "add_note", [statement], [effect], done, self._forget_document(document) if document else _nothing
        )

    # -- conversations --------------------------------------------------------------------------

    def _insert_conversation(self) -> Write:
        own, id = self._own, self._uuid()
        filed = self._random.random() < 0.6
        collection = self._random.choice(own.collections) if filed else None
        title = self._text.title()
        conversation = Conversation(id, filed)
        statements: list[Statement] = [
            (_INSERT_CONVERSATION, {"id": id, "collection": collection, "title": title,
                                    "key": None if filed else self._random.choice(own.api_keys)}),
        ]  # fmt: skip
        effects = [self._put("conversations", {"id": id}, title=title, collection=collection)]
        for _ in range(self._random.randrange(1, 4)):
            self._add_message(conversation, statements, effects)
        if self._random.random() < 0.5:
            self._add_feedback(conversation, statements, effects)

        def done() -> None:
            own.conversations[id] = conversation
            own.messages.update(dict.fromkeys(conversation.messages, id))

        return self._write("insert_conversation", statements, effects, done)

    def _append_messages(self) -> Write | None:
        own = self._own
        if not own.conversations:
            return None
        conversation = self._random.choice(list(own.conversations.values()))
        more = Conversation(conversation.id, conversation.filed)
        statements: list[Statement] = []
        effects: list[Effect] = []
        for _ in range(2):
            self._add_message(more, statements, effects)

        def done() -> None:
            conversation.messages.extend(more.messages)
            own.messages.update(dict.fromkeys(more.messages, conversation.id))

        return self._write(
            "append_messages", statements, effects, done, lambda: self._forget_conversation(conversation.id)
        )

    def _update_message(self) -> Write | None:
        if not self._own.messages:
            return None
        ref = self._random.choice(list(self._own.messages))
        tokens = self._random.randrange(10_000)
        statement = (
            "UPDATE messages SET tokens = %(tokens)s WHERE client_ref = %(ref)s",
            {"ref": ref, "tokens": tokens},
        )
        effect = self._put("messages", {"ref": ref}, tokens=str(tokens))
        return self._write(
            "update_message", [statement], [effect], _nothing, lambda: self._forget_message(ref)
        )

    def _delete_message(self) -> Write | None:
        """Children first: feedback, then the message."""
        if not self._own.messages:
            return None
        ref = self._random.choice(list(self._own.messages))
        statements: list[Statement] = [
            (_DELETE_FEEDBACK_OF_MESSAGE, {"ref": ref}),
            ("DELETE FROM messages WHERE client_ref = %(ref)s", {"ref": ref}),
        ]
        effects = [Effect(Do.GONE, "messages", {"ref": ref}), *self._no_feedback(ref)]
        return self._write(
            "delete_message",
            statements,
            effects,
            lambda: self._forget_message(ref),
            lambda: self._forget_message(ref),
        )

    def _delete_conversation(self) -> Write | None:
        """Parent first, as applications without declared keys do: for a moment its messages have no owner."""
        own = self._own
        if len(own.conversations) < 3:
            return None
        conversation = self._random.choice(list(own.conversations.values()))
        statements: list[Statement] = [
            (_DELETE_FEEDBACK_OF_CONVERSATION, {"id": conversation.id}),
            ("DELETE FROM conversations WHERE id = %(id)s", {"id": conversation.id}),
            ("DELETE FROM messages WHERE conversation_id = %(id)s", {"id": conversation.id}),
        ]
        effects = [Effect(Do.GONE, "conversations", {"id": conversation.id})]
        effects += [
            Effect(Do.GONE, "messages", {"ref": ref}) for ref in conversation.messages if ref in own.messages
        ]
        effects += [effect for ref in conversation.messages for effect in self._no_feedback(ref)]

        def gone() -> None:
            self._forget_conversation(conversation.id)

        return self._write("delete_conversation", statements, effects, gone, gone)

    def _file_conversation(self) -> Write | None:
        """It was owned through its API key and is owned through a collection now; the owner stays the same."""
        loose = [c for c in self._own.conversations.values() if not c.filed]
        if not loose:
            return None
        conversation, collection = self._random.choice(loose), self._random.choice(self._own.collections)
        statement = (
            "UPDATE conversations SET collection_id = %(collection)s WHERE id = %(id)s",
            {"id": conversation.id, "collection": collection},
        )
        effect = self._put("conversations", {"id": conversation.id}, collection=collection)

        def done() -> None:
            conversation.filed = True

        return self._write(
            "file_conversation",
            [statement],
            [effect],
            done,
            lambda: self._forget_conversation(conversation.id),
        )

    def _add_message(
        self, conversation: Conversation, statements: list[Statement], effects: list[Effect]
    ) -> None:
        ref, content, tokens = self._ref(), self._text.sentence(), self._random.randrange(1000)
        conversation.messages.append(ref)
        statements.append(
            (
                _INSERT_MESSAGE,
                {"conversation": conversation.id, "ref": ref, "content": content, "tokens": tokens},
            )
        )
        effects.append(
            self._put(
                "messages",
                {"ref": ref},
                content=md5(content),
                tokens=str(tokens),
                conversation=conversation.id,
            )
        )

    def _add_feedback(
        self, conversation: Conversation, statements: list[Statement], effects: list[Effect]
    ) -> None:
        ref, id, rating = conversation.messages[-1], self._uuid(), self._random.randrange(1, 6)
        statements.append((_INSERT_FEEDBACK, {"id": id, "ref": ref, "rating": rating}))
        effects.append(self._put("message_feedback", {"id": id}, rating=str(rating)))
        conversation.feedback[ref] = id

    # -- settings, counters, events -------------------------------------------------------------

    def _increment(self) -> Write:
        name = f"load:{self._writer // 1000}:{self._random.randrange(3)}"
        effect = Effect(Do.ADD, "counters", {"tenant": self._tenant, "name": name}, count=1)
        return self._write("increment", [(_INCREMENT, {"tenant": self._tenant, "name": name})], [effect])

    def _put_setting(self) -> Write:
        own = self._own
        if own.settings and self._random.random() < 0.7:
            setting = self._random.choice(own.settings)
            version, statement = setting.version + 1, _UPDATE_SETTING
        else:
            name = f"load {self._ref()}"
            setting = Setting(self._random.choice(("retrieval", "ui")), name, f"load-{self._ref()}")
            version, statement = 1, _INSERT_SETTING
        values = {
            **self._setting_key(setting),
            "slug": setting.slug,
            "value": json.dumps({"v": version, "x": [1, None]}),
        }
        effect = self._put("settings", self._setting_key(setting), slug=setting.slug, v=str(version))

        def done() -> None:
            setting.version = version
            if setting not in own.settings:
                own.settings.append(setting)

        return self._write(
            "put_setting", [(statement, values)], [effect], done, lambda: self._forget_settings(setting)
        )

    def _swap_slugs(self) -> Write | None:
        """Two rows exchange a unique value, over a third one."""
        if len(self._own.settings) < 2:
            return None
        one, other = self._random.sample(self._own.settings, 2)
        slug_of_one, slug_of_other = one.slug, other.slug
        statements: list[Statement] = [
            (_SET_SLUG, {**self._setting_key(one), "slug": f"swap-{self._ref()}"}),
            (_SET_SLUG, {**self._setting_key(other), "slug": slug_of_one}),
            (_SET_SLUG, {**self._setting_key(one), "slug": slug_of_other}),
        ]
        effects = [
            self._put("settings", self._setting_key(one), slug=slug_of_other),
            self._put("settings", self._setting_key(other), slug=slug_of_one),
        ]

        def done() -> None:
            one.slug, other.slug = slug_of_other, slug_of_one

        return self._write("swap_slugs", statements, effects, done, lambda: self._forget_settings(one, other))

    def _rename_setting(self) -> Write | None:
        """Its primary key changes."""
        if not self._own.settings:
            return None
        setting = self._random.choice(self._own.settings)
        name = f"load {self._ref()}"
        statement = (_RENAME_SETTING, {**self._setting_key(setting), "new": name})
        effects = [
            Effect(Do.GONE, "settings", self._setting_key(setting)),
            self._put(
                "settings",
                {**self._setting_key(setting), "name": name},
                slug=setting.slug,
                v=str(setting.version),
            ),
        ]

        def done() -> None:
            setting.name = name

        return self._write(
            "rename_setting", [statement], effects, done, lambda: self._forget_settings(setting)
        )

    def _delete_setting(self) -> Write | None:
        if len(self._own.settings) < 3:
            return None
        setting = self._random.choice(self._own.settings)
        effect = Effect(Do.GONE, "settings", self._setting_key(setting))

        def gone() -> None:
            self._forget_settings(setting)

        return self._write(
            "delete_setting", [(_DELETE_SETTING, self._setting_key(setting))], [effect], gone, gone
        )

    def _use(self) -> Write:
        kind, month, quantity = (
            f"load {self._ref()}",
            self._random.randrange(1, 13),
            self._random.randrange(100_000),
        )
        values = {
            "tenant": self._tenant,
            "kind": kind,
            "quantity": f"{quantity}.2500",
            "at": f"2026-{month:02}-03T04:05:06Z",
        }
        effect = self._put(
            "usage_events",
            {"tenant": self._tenant, "kind": kind},
            quantity=values["quantity"],
            month=f"2026-{month:02}",
        )

        def done() -> None:
            self._own.events[kind] = month

        return self._write("use", [(_INSERT_EVENT, values)], [effect], done)

    def _move_event(self) -> Write | None:
        """Its key changes, and with it usually the partition."""
        events = self._own.events
        if not events:
            return None
        kind = self._random.choice(list(events))
        month = events[kind] % 12 + 1
        statement = (
            _MOVE_EVENT,
            {"tenant": self._tenant, "kind": kind, "at": f"2026-{month:02}-03T04:05:06Z"},
        )
        effect = self._put("usage_events", {"tenant": self._tenant, "kind": kind}, month=f"2026-{month:02}")

        def done() -> None:
            events[kind] = month

        return self._write("move_event", [statement], [effect], done, lambda: events.pop(kind, None) and None)

    def _audit(self) -> Write:
        """Equal rows, one to three of them, in a table without a key."""
        actor, count = f"load-{self._ref()}", self._random.randrange(1, 4)
        statement = (_INSERT_AUDIT, {"tenant": self._tenant, "actor": actor, "count": count})

        def done() -> None:
            self._own.audits[actor] = count

        return self._write("audit", [statement], [self._audited(actor, "load", "", count)], done)

    def _forget_audit(self) -> Write | None:
        """Delete one of several equal rows."""
        audits = self._own.audits
        if not audits:
            return None
        actor = self._random.choice(list(audits))
        statement = (_DELETE_ONE_AUDIT, {"tenant": self._tenant, "actor": actor})

        def done() -> None:
            audits[actor] -= 1
            if audits[actor] == 0:
                del audits[actor]

        return self._write(
            "forget_audit",
            [statement],
            [self._audited(actor, "load", "", -1)],
            done,
            lambda: audits.pop(actor, None) and None,
        )

    def _amend_audit(self) -> Write | None:
        """Update all equal rows at once."""
        audits = self._own.audits
        if not audits:
            return None
        actor = self._random.choice(list(audits))
        statement = ("UPDATE audit_log SET action = 'amended' WHERE tenant_id = %(tenant)s AND actor = %(actor)s",
                     {"tenant": self._tenant, "actor": actor})  # fmt: skip
        effects = [
            self._audited(actor, "load", "", -audits[actor]),
            self._audited(actor, "amended", "", audits[actor]),
        ]

        def gone() -> None:
            audits.pop(actor, None)

        return self._write("amend_audit", [statement], effects, gone, gone)

    # -- people and keys ------------------------------------------------------------------------

    def _invite(self) -> Write:
        """A person comes before the membership that says whose the person is."""
        id, name = self._uuid(), self._text.person()[0]
        values = {"id": id, "name": name, "email": f"{self._ref()}@example.com", "tenant": self._tenant}
        statements: list[Statement] = [(_INSERT_USER, values), (_INSERT_MEMBERSHIP, values)]
        effects = [
            self._put("users", {"id": id}, name=name),
            self._put("memberships", {"tenant": self._tenant, "user": id}, role="member"),
        ]
        return self._write("invite", statements, effects, lambda: self._own.people.append(id))

    def _rename_person(self) -> Write | None:
        if not self._own.people:
            return None
        id, name = self._random.choice(self._own.people), self._text.person()[0]
        statement = ("UPDATE users SET full_name = %(name)s WHERE id = %(id)s", {"id": id, "name": name})
        return self._write(
            "rename_person",
            [statement],
            [self._put("users", {"id": id}, name=name)],
            _nothing,
            lambda: self._own.people.remove(id),
        )

    def _dismiss(self) -> Write | None:
        """The membership goes first, then the person."""
        people = self._own.people
        if not people:
            return None
        id = self._random.choice(people)
        values = {"id": id, "tenant": self._tenant}
        statements: list[Statement] = [
            ("DELETE FROM memberships WHERE tenant_id = %(tenant)s AND user_id = %(id)s", values),
            ("DELETE FROM users WHERE id = %(id)s", values),
        ]
        effects = [
            Effect(Do.GONE, "memberships", {"tenant": self._tenant, "user": id}),
            Effect(Do.GONE, "users", {"id": id}),
        ]

        def gone() -> None:
            self._own.people = [person for person in self._own.people if person != id]
            self._own.bookmarks = [(person, order) for person, order in self._own.bookmarks if person != id]

        return self._write("dismiss", statements, effects, gone, gone)

    def _bookmark(self) -> Write | None:
        people, marks = self._own.people, self._own.bookmarks
        if not people:
            return None
        fresh = not marks or self._random.random() < 0.5
        mark = (self._random.choice(people), self._number) if fresh else self._random.choice(marks)
        weight, url = self._random.randrange(1, 100) / 4, f"https://example.com/{self._ref()}"
        values = {"tenant": self._tenant, "user": mark[0], "order": mark[1], "url": url, "weight": weight}
        effect = self._put(
            "Bookmarks",
            {"tenant": self._tenant, "user": mark[0], "order": str(mark[1])},
            url=url,
            weight=f"{weight:g}",
        )

        def done() -> None:
            if fresh:
                marks.append(mark)

        return self._write(
            "bookmark",
            [(_UPSERT_BOOKMARK, values)],
            [effect],
            done,
            lambda: marks.remove(mark) if mark in marks else None,
        )

    def _rotate_key(self) -> Write:
        """Row security: the session has to say whose keys it means."""
        keys, id, secret = self._own.keys, self._uuid(), f"{self._random.getrandbits(256):064x}"
        old = keys[0] if len(keys) > 2 else None
        label = f"load {self._ref()}"
        values = {
            "id": id,
            "old": old,
            "tenant": self._tenant,
            "label": label,
            "secret": bytes.fromhex(secret),
        }
        statements: list[Statement] = [(_AS_TENANT, values), (_INSERT_KEY, values)]
        effects = [self._put("api_keys", {"id": id}, label=label, secret=secret, **{"from": "{10.1.0.0/16}"})]
        if old is not None:
            statements.append(("DELETE FROM api_keys WHERE id = %(old)s", values))
            effects.append(Effect(Do.GONE, "api_keys", {"id": old}))

        def done() -> None:
            keys.append(id)
            if old is not None:
                keys.remove(old)

        return self._write(
            "rotate_key", statements, effects, done, lambda: keys.remove(old) if old in keys else None
        )

    # -- common ---------------------------------------------------------------------------------

    def _write(
        self, kind: str, statements: list[Statement], effects: list[Effect],
        done: Callable[[], None] = _nothing, forget: Callable[[], None] = _nothing,
    ) -> Write:  # fmt: skip
        return Write(kind, tuple(statements), tuple(effects), done, forget)

    def _put(self, table: str, key: dict[str, str], **values: str | None) -> Effect:
        return Effect(Do.PUT, table, key, values)

    def _audited(self, actor: str, action: str, document: str, count: int) -> Effect:
        key = {"tenant": self._tenant, "actor": actor, "action": action, "document": document}
        return Effect(Do.ADD, "audit_log", key, count=count)

    def _setting_key(self, setting: Setting) -> dict[str, str]:
        return {"tenant": self._tenant, "section": setting.section, "name": setting.name}

    def _any_document(self) -> Document | None:
        return self._random.choice(list(self._own.documents.values())) if self._own.documents else None

    def _forget_document(self, document: Document) -> Callable[[], None]:
        return lambda: self._own.documents.pop(document.id, None) and None

    def _forget_conversation(self, id: str) -> None:
        conversation = self._own.conversations.pop(id, None)
        for ref in conversation.messages if conversation else ():
            self._own.messages.pop(ref, None)

    def _no_feedback(self, ref: str) -> list[Effect]:
        conversation = self._own.conversations.get(self._own.messages.get(ref, ""))
        id = conversation.feedback.get(ref) if conversation else None
        return [Effect(Do.GONE, "message_feedback", {"id": id})] if id else []

    def _forget_message(self, ref: str) -> None:
        self._own.messages.pop(ref, None)

    def _forget_settings(self, *settings: Setting) -> None:
        self._own.settings = [setting for setting in self._own.settings if setting not in settings]

    def _body(self) -> str:
        """About 12 kB: it stays out of line when it is compressed."""
        return f"{self._ref()}\n{self._text.text(9)}"

    def _ref(self) -> str:
        """A name that no other writer, tenant or run makes."""
        self._number += 1
        return f"{self._writer}-{self._number}"

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


WEIGHTS: Mapping[str, int] = {
    "insert_document": 8, "update_document": 12, "rewrite_document": 2, "set_status": 4, "delete_document": 3,
    "add_note": 3, "insert_conversation": 7, "append_messages": 14, "update_message": 6, "delete_message": 4,
    "delete_conversation": 2, "file_conversation": 2, "increment": 14, "put_setting": 6, "swap_slugs": 4,
    "rename_setting": 3, "delete_setting": 1, "use": 8, "move_event": 2, "audit": 8, "forget_audit": 3,
    "amend_audit": 2, "invite": 2, "rename_person": 2, "dismiss": 1, "bookmark": 3, "rotate_key": 1,
}  # fmt: skip

_INSERT_DOCUMENT = """INSERT INTO documents (id, tenant_id, collection_id, parent_id, title, body, meta, tags)
VALUES (%(id)s, %(tenant)s, %(collection)s, %(parent)s, %(title)s, %(body)s, %(meta)s, '{load}')"""
_INSERT_CHUNK = """INSERT INTO chunks (document_id, ordinal, content, embedding)
VALUES (%(id)s, %(ordinal)s, %(content)s, %(vector)s)"""
_UPDATE_DOCUMENT = """UPDATE documents SET title = %(title)s, tags = %(tags)s,
meta = jsonb_set(meta, '{v}', to_jsonb(%(v)s::int)) WHERE id = %(id)s"""
_INSERT_CONVERSATION = """INSERT INTO conversations (id, collection_id, api_key_id, title)
VALUES (%(id)s, %(collection)s, %(key)s, %(title)s)"""
_INSERT_MESSAGE = """INSERT INTO messages (conversation_id, client_ref, role, content, tokens)
VALUES (%(conversation)s, %(ref)s, 'user', %(content)s, %(tokens)s)"""
_INSERT_FEEDBACK = """INSERT INTO message_feedback (id, message_id, rating)
SELECT %(id)s, id, %(rating)s FROM messages WHERE client_ref = %(ref)s"""
_DELETE_FEEDBACK_OF_MESSAGE = """DELETE FROM message_feedback
WHERE message_id IN (SELECT id FROM messages WHERE client_ref = %(ref)s)"""
_DELETE_FEEDBACK_OF_CONVERSATION = """DELETE FROM message_feedback
WHERE message_id IN (SELECT id FROM messages WHERE conversation_id = %(id)s)"""
_INCREMENT = """INSERT INTO counters AS c (tenant_id, name, n) VALUES (%(tenant)s, %(name)s, 1)
ON CONFLICT (tenant_id, name) DO UPDATE SET n = c.n + 1"""
_INSERT_SETTING = """INSERT INTO settings (tenant_id, section, name, slug, value)
VALUES (%(tenant)s, %(section)s, %(name)s, %(slug)s, %(value)s)"""
_UPDATE_SETTING = """UPDATE settings SET slug = %(slug)s, value = %(value)s
WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s"""
_SET_SLUG = """UPDATE settings SET slug = %(slug)s
WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s"""
_RENAME_SETTING = """UPDATE settings SET name = %(new)s
WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s"""
_DELETE_SETTING = """DELETE FROM settings
WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s"""
_INSERT_EVENT = """INSERT INTO usage_events (tenant_id, happened_at, kind, quantity)
VALUES (%(tenant)s, %(at)s, %(kind)s, %(quantity)s)"""
_MOVE_EVENT = "UPDATE usage_events SET happened_at = %(at)s WHERE tenant_id = %(tenant)s AND kind = %(kind)s"
_INSERT_AUDIT = """INSERT INTO audit_log (tenant_id, at, actor, action)
SELECT %(tenant)s, now(), %(actor)s, 'load' FROM generate_series(1, %(count)s)"""
_DELETE_ONE_AUDIT = """DELETE FROM audit_log WHERE ctid = (SELECT ctid FROM audit_log
WHERE tenant_id = %(tenant)s AND actor = %(actor)s LIMIT 1)"""
_INSERT_USER = "INSERT INTO users (id, email, full_name) VALUES (%(id)s, %(email)s, %(name)s)"
_INSERT_MEMBERSHIP = "INSERT INTO memberships (tenant_id, user_id) VALUES (%(tenant)s, %(id)s)"
_UPSERT_BOOKMARK = """INSERT INTO "Bookmarks" (tenant_id, "userId", "order", "Target URL", weight)
VALUES (%(tenant)s, %(user)s, %(order)s, %(url)s, %(weight)s) ON CONFLICT (tenant_id, "userId", "order")
DO UPDATE SET "Target URL" = excluded."Target URL", weight = excluded.weight"""
_AS_TENANT = "SELECT set_config('app.tenant', %(tenant)s, true)"
_INSERT_KEY = """INSERT INTO api_keys (id, tenant_id, label, secret_hash, allowed_from)
VALUES (%(id)s, %(tenant)s, %(label)s, %(secret)s, '{10.1.0.0/16}')"""
