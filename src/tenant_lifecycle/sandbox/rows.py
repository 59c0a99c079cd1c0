"""The sample application's rows, made up the same on every run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TypeVar

from tenant_lifecycle.sandbox.sample import SampleTenant
from tenant_lifecycle.sandbox.text import Writer

#: Rows of all tenants together at scale 1.
ROWS = 200_000
_START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
#: How a tenant's rows divide.
_SHARES = {"documents": 0.05, "chunks": 0.12, "conversations": 0.06, "messages": 0.32, "usage_events": 0.30,
           "audit_log": 0.07, "message_feedback": 0.07}  # fmt: skip
_KINDS = ("query", "ingest", "rerank", "embed")
_STATUS = ("draft", "indexed", "indexed", "indexed", "archived", "failed")

Row = tuple[object, ...]
T = TypeVar("T")


class SampleRows:
    """Yields tables in an order that respects declared keys, tenant by tenant."""

    def __init__(self, scale: float, tenants: Sequence[SampleTenant], first_id: int, as_array: bool) -> None:
        self._as_array = as_array
        self._scale = scale
        self._tenants = tenants
        self._random = Random(f"tenant-lifecycle {first_id}")
        self._text = Writer(self._random)
        self._vectors = [self._vector() for _ in range(512)]
        self._document, self._chunk, self._message = count(first_id), count(first_id), count(first_id)
        self._note, self._usage = count(first_id), count(first_id)
        self._shared = _contractors()

    def everything(self) -> Iterable[tuple[str, Iterable[Row]]]:
        """Table and rows, with the columns of `COLUMNS`; a table comes once per tenant."""
        yield "plans", _PLANS
        yield "models", _MODELS
        yield "users", self._shared
        total = sum(tenant.weight for tenant in self._tenants)
        for tenant in self._tenants:
            yield from self._tenant(tenant, int(ROWS * self._scale * tenant.weight / total))

    def _tenant(self, tenant: SampleTenant, rows: int) -> Iterable[tuple[str, Iterable[Row]]]:
        size = {table: max(3, int(rows * share)) for table, share in _SHARES.items()}
        people = self._people(3 + size["conversations"] // 12)
        collections = [self._uuid() for _ in range(2 + size["documents"] // 60)]
        keys = [self._uuid() for _ in range(3)]
        documents = [self._uuid() for _ in range(size["documents"])]
        conversations = [self._uuid() for _ in range(size["conversations"])]
        messages = [next(self._message) for _ in range(size["messages"])]
        yield "tenants", [(tenant.id, tenant.name, tenant.tier, tenant.tier, _START)]
        yield "users", [person for person in people if person not in self._shared]
        yield "memberships", self._memberships(tenant, people)
        yield "collections", self._collections(tenant, collections)
        yield "api_keys", self._keys(tenant, keys)
        yield "documents", self._documents(tenant, documents, collections)
        yield "chunks", self._chunks(documents, size["chunks"])
        yield "conversations", self._conversations(conversations, people, collections, keys)
        yield "messages", self._messages(messages, conversations)
        yield "message_feedback", self._feedback(messages, size["message_feedback"])
        yield "notes", self._notes(tenant, documents)
        yield "usage_events", self._usage_events(tenant, size["usage_events"])
        yield "audit_log", self._audit_log(tenant, people, size["audit_log"])
        yield "settings", self._settings(tenant)
        yield "counters", self._counters(tenant)
        yield "Bookmarks", self._bookmarks(tenant, people)

    def _people(self, wanted: int) -> list[Row]:
        people: list[Row] = [row for row in self._shared if self._random.random() < 0.2] or [self._shared[0]]
        while len(people) < wanted:
            name, local = self._text.person()
            address = f"{local}.{self._random.getrandbits(40):x}@example.com"
            people.append((self._uuid(), address, name, self._moment()))
        return people

    def _memberships(self, tenant: SampleTenant, people: list[Row]) -> Iterator[Row]:
        for n, person in enumerate(people):
            yield tenant.id, person[0], "owner" if n == 0 else "member", self._moment()

    def _collections(self, tenant: SampleTenant, collections: list[str]) -> Iterator[Row]:
        for n, id in enumerate(collections):
            yield id, tenant.id, f"library-{n}", self._text.title(), _START

    def _keys(self, tenant: SampleTenant, keys: list[str]) -> Iterator[Row]:
        for n, id in enumerate(keys):
            secret = "\\x" + f"{self._random.getrandbits(256):064x}"
            yield id, tenant.id, f"key {n}", secret, "{10.0.0.0/8,192.0.2.0/24}", f"[{_START.isoformat()},)"

    def _documents(self, tenant: SampleTenant, documents: list[str], collections: list[str]) -> Iterator[Row]:
        for n, id in enumerate(documents):
            parent = documents[self._below(n)] if n and n % 5 == 0 else None
            at = self._moment()
            meta = json.dumps({"v": 0, "source": f"upload/{n}.pdf", "pages": n % 40, "tenant": tenant.name})
            yield (
                id, tenant.id, self._one(collections), parent, next(self._document), self._text.title(),
                self._text.text(12 if n % 50 == 7 else 2 + n % 4), meta, f"{{{_KINDS[n % 4]},{tenant.tier}}}",
                self._one(_STATUS), at, at,
            )  # fmt: skip

    def _chunks(self, documents: list[str], wanted: int) -> Iterator[Row]:
        for n in range(wanted):
            # Near one of 512 centres: neighbours that a search would really find.
            vector = self._vectors[self._below(512)].copy()
            vector[n % 32] += self._random.random() / 4
            yield (
                next(self._chunk), documents[n % len(documents)], n // len(documents), self._text.sentences(3),
                vector if self._as_array else "[" + ",".join(map(_short, vector)) + "]",
            )  # fmt: skip

    def _conversations(
        self, conversations: list[str], people: list[Row], collections: list[str], keys: list[str]
    ) -> Iterator[Row]:
        for n, id in enumerate(conversations):
            by_key = n % 3 == 2
            collection = None if by_key else self._one(collections)
            key = self._one(keys) if by_key or n % 7 == 0 else None
            person = None if by_key else self._one(people)[0]
            yield id, person, collection, key, self._text.title(), self._moment()

    def _messages(self, messages: list[int], conversations: list[str]) -> Iterator[Row]:
        for n, id in enumerate(messages):
            conversation = conversations[n % len(conversations)]
            role = "user" if n % 2 == 0 else "assistant"
            yield id, conversation, f"seed-{id}", role, self._text.sentence(), n % 500, self._moment()

    def _feedback(self, messages: list[int], wanted: int) -> Iterator[Row]:
        for n in range(wanted):
            comment = self._text.sentence() if n % 4 == 0 else None
            yield self._uuid(), self._one(messages), 1 + n % 5, comment

    def _notes(self, tenant: SampleTenant, documents: list[str]) -> Iterator[Row]:
        for n in range(3 + len(documents) // 10):
            document, owner = (None, tenant.id) if n % 3 == 0 else (self._one(documents), None)
            yield next(self._note), document, owner, self._text.sentences(2)

    def _usage_events(self, tenant: SampleTenant, wanted: int) -> Iterator[Row]:
        for n in range(wanted):
            yield (
                tenant.id,
                self._moment(),
                next(self._usage),
                _KINDS[n % 4],
                f"{n % 997}.{n % 10_000:04}",
                f"{n % 90} ms",
            )

    def _audit_log(self, tenant: SampleTenant, people: list[Row], wanted: int) -> Iterator[Row]:
        row: Row = ()
        for n in range(wanted):
            # Every tenth row is an exact double of the one before.
            if n % 10 or not row:
                detail = json.dumps({"n": n, "reason": self._text.sentence()}) if n % 3 else None
                row = (tenant.id, self._moment(), self._one(people)[1], "document.read", detail)
            yield row

    def _settings(self, tenant: SampleTenant) -> Iterator[Row]:
        for section in ("retrieval", "ui", "limits"):
            for n in range(4):
                value = json.dumps({"n": n, "since": "2026-01"})
                yield tenant.id, section, f"option {n}", f"{section}-{n}", value, _START

    def _counters(self, tenant: SampleTenant) -> Iterator[Row]:
        for kind in _KINDS:
            yield tenant.id, f"total:{kind}", self._below(10_000)

    def _bookmarks(self, tenant: SampleTenant, people: list[Row]) -> Iterator[Row]:
        for person in people[:50]:
            for order in range(2):
                yield tenant.id, person[0], order, f"https://example.com/{order}?q=a b", 1 / (1 + order) / 3

    def _uuid(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _moment(self) -> str:
        """Some time in the first half of 2026."""
        return (_START + timedelta(seconds=self._random.random() * 14_000_000)).isoformat()

    def _below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def _one(self, things: Sequence[T]) -> T:
        return things[int(self._random.random() * len(things))]

    def _vector(self) -> list[float]:
        return [self._random.uniform(-1, 1) for _ in range(32)]


#: Columns by table, in the order of the rows' values.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "plans": ("code", "monthly_price", "limits"),
    "models": ("id", "name", "dimensions"),
    "tenants": ("id", "name", "tier", "plan", "created_at"),
    "users": ("id", "email", "full_name", "created_at"),
    "memberships": ("tenant_id", "user_id", "role", "joined_at"),
    "collections": ("id", "tenant_id", "slug", "name", "updated_at"),
    "api_keys": ("id", "tenant_id", "label", "secret_hash", "allowed_from", "valid"),
    "documents": ("id", "tenant_id", "collection_id", "parent_id", "number", "title", "body", "meta", "tags",
                  "status", "created_at", "updated_at"),
    "chunks": ("id", "document_id", "ordinal", "content", "embedding"),
    "conversations": ("id", "user_id", "collection_id", "api_key_id", "title", "created_at"),
    "messages": ("id", "conversation_id", "client_ref", "role", "content", "tokens", "created_at"),
    "message_feedback": ("id", "message_id", "rating", "comment"),
    "notes": ("id", "document_id", "tenant_id", "body"),
    "usage_events": ("tenant_id", "happened_at", "id", "kind", "quantity", "took"),
    "audit_log": ("tenant_id", "at", "actor", "action", "detail"),
    "settings": ("tenant_id", "section", "name", "slug", "value", "updated_at"),
    "counters": ("tenant_id", "name", "n"),
    "Bookmarks": ("tenant_id", "userId", "order", "Target URL", "weight"),
}  # fmt: skip
_PLANS: list[Row] = [
    (code, price, json.dumps({"documents": documents}))
    for code, price, documents in (
        ("platinum", "4900.00", 1_000_000),
        ("gold", "990.00", 50_000),
        ("bronze", "90.00", 2_000),
    )
]
_MODELS: list[Row] = [(1, "embed-small", 32), (2, "embed-large", 1024), (3, "rerank", 0)]


def _contractors() -> list[Row]:
    """People who work for several tenants, in both environments: the same ids and addresses everywhere."""
    random = Random("contractors")
    text = Writer(random)
    people: list[Row] = []
    for n in range(12):
        name, local = text.person()
        people.append((f"{random.getrandbits(128):032x}", f"{local}.{n}@contractors.example", name, _START))
    return people


def _short(value: float) -> str:
    return f"{value:.3f}"
