"""One tenant of the sample application as items of every store, in memory, as bases have them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from tenant_lifecycle.masking.equals import EqualRows
from tenant_lifecycle.masking.forms import ObjectForm, RedisForm, VectorForm
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.masking_file import load_registry
from tenant_lifecycle.model.backup.items import Cell, Item
from tenant_lifecycle.model.backup.object_value import ObjectHeader
from tenant_lifecycle.model.backup.parts import Held
from tenant_lifecycle.model.backup.redis_value import Header, packed
from tenant_lifecycle.model.backup.shape import Column, Shape, opaque
from tenant_lifecycle.model.backup.vector_value import VectorValue, canonical, dense
from tenant_lifecycle.sandbox.rows import COLUMNS, SampleRows
from tenant_lifecycle.sandbox.sample import TENANTS
from tenant_lifecycle.stores.postgres.backup.form import key_of

TENANT, TARGET = "acme", "acme-staging"
FORMS = {"redis": RedisForm(), "objects": ObjectForm(), "vectors": VectorForm()}
_TYPES: Mapping[str, str] = {
    "uuid": "users.id memberships.user_id collections.id api_keys.id documents.id documents.collection_id documents.parent_id "
    "chunks.document_id conversations.id conversations.user_id conversations.collection_id conversations.api_key_id "
    "messages.conversation_id message_feedback.id notes.document_id Bookmarks.userId",
    "bigint": "documents.number chunks.id messages.id message_feedback.message_id usage_events.id counters.n",
    "integer": "chunks.ordinal messages.tokens notes.id Bookmarks.order",
    "jsonb": "documents.meta audit_log.detail settings.value",
    "text[]": "documents.tags",
    "timestamp with time zone": "tenants.created_at users.created_at memberships.joined_at collections.updated_at documents.created_at "
    "documents.updated_at conversations.created_at messages.created_at usage_events.happened_at audit_log.at settings.updated_at",
    "cidr[]": "api_keys.allowed_from",
    "bytea": "api_keys.secret_hash",
    "vector(32)": "chunks.embedding",
    "numeric(12,4)": "usage_events.quantity",
}
_TYPE = {place: type_ for type_, places in _TYPES.items() for place in places.split()}
_KEYS = {
    "tenants": ("id",), "memberships": ("tenant_id", "user_id"), "usage_events": ("tenant_id", "happened_at", "id"),
    "audit_log": (), "settings": ("tenant_id", "section", "name"), "counters": ("tenant_id", "name"),
    "Bookmarks": ("tenant_id", "userId", "order"),
}  # fmt: skip
_NULLABLE = frozenset({"documents.parent_id", "conversations.user_id", "conversations.collection_id", "conversations.api_key_id",
                       "message_feedback.comment", "notes.document_id", "notes.tenant_id", "audit_log.detail"})  # fmt: skip


def sandbox_registry() -> Registry:
    return load_registry(Path(str(files("tenant_lifecycle.sandbox").joinpath("masking.yaml"))))


@dataclass
class Corpus:
    """Shapes and items by store and set."""

    sets: dict[tuple[str, str], tuple[Shape, list[Item]]] = field(default_factory=dict)

    def add(self, store: str, shape: Shape, items: list[Item]) -> None:
        _, before = self.sets.setdefault((store, shape.set), (shape, []))
        before.extend(items)

    def __iter__(self) -> Iterator[tuple[str, Shape, list[Item]]]:
        for (store, _), (shape, items) in self.sets.items():
            yield store, shape, items

    def rows(self, table: str) -> list[dict[str, str | None]]:
        """A table's rows by column."""
        shape, items = self.sets["postgres", table]
        names = [column.name for column in shape.columns]
        return [
            dict(zip(names, (None if c is None else c.decode() for c in item.cells), strict=True))
            for item in items
        ]

    def change(self, table: str, at: int, **columns: str | None) -> None:
        """Give a row other values."""
        shape, items = self.sets["postgres", table]
        cells = list(items[at].cells)
        for name, value in columns.items():
            place = next(at for at, column in enumerate(shape.columns) if column.name == name)
            cells[place] = None if value is None else value.encode()
        items[at] = Item(shape.set, key_of(shape, cells), tuple(cells))

    def copy(self) -> Corpus:
        return Corpus({key: (shape, list(items)) for key, (shape, items) in self.sets.items()})


def sample(scale: float = 0.002) -> Corpus:
    """Rows, objects, vectors and keys of the largest tenant."""
    corpus = Corpus()
    rows = SampleRows(scale, TENANTS[:1], 1, as_array=False)
    everything = [
        (table, list(rows)) for table, rows in rows.everything() if table not in ("plans", "models")
    ]
    members = {str(row[1]) for table, rows in everything if table == "memberships" for row in rows}
    for table, found in everything:
        shape = shape_of(table)
        kept = [row for row in found if table != "users" or str(row[0]) in members]
        equal = EqualRows()
        corpus.add("postgres", shape, [_row(shape, row, equal) for row in kept])
    _keyed(corpus)
    return corpus


def shape_of(table: str) -> Shape:
    columns = tuple(
        Column(name, _TYPE.get(f"{table}.{name}", "text"), nullable=f"{table}.{name}" in _NULLABLE)
        for name in COLUMNS[table]
    )
    return Shape(table, columns, _KEYS.get(table, ("id",)))


def _row(shape: Shape, row: Sequence[object], equal: EqualRows) -> Item:
    cells = tuple(_cell(column, value) for column, value in zip(shape.columns, row, strict=True))
    return Item(shape.set, key_of(shape, cells, 0 if shape.key else equal.number(cells)), cells)


def _cell(column: Column, value: object) -> Cell:
    if value is None:
        return None
    return str(uuid.UUID(str(value))).encode() if column.type == "uuid" else str(value).encode()


def object_item(key: str, body: bytes, title: str, kind: str = "document") -> Item:
    header = ObjectHeader(
        (("ContentType", "text/plain"),),
        (("sha256", hashlib.sha256(body).hexdigest()), ("title", quote(title)), ("v", "0")),
        (("kind", kind),),
    )
    return Item("documents", key.encode(), (Held(header.written(), body).cell(),))


def vector_item(collection: str, document: str, ordinal: int, values: list[float], **more: str) -> Item:
    metadata = canonical({"document": document, "ordinal": float(ordinal), "v": 0.0, **more})
    cell = VectorValue({"": dense(values)}, metadata).cell()
    return Item("libraries", f"library-{collection}\0{document}#{ordinal}".encode(), (cell,))


def text_key(set_name: str, key: str, value: str) -> Item:
    return Item(set_name, key.encode(), (Held(Header("string").written(), value.encode()).cell(),))


def stream_key(key: str, entries: list[dict[str, str]]) -> Item:
    records = [(b"last", b"9-0")]
    for at, entry in enumerate(entries):
        flat = [word.encode() for pair in entry.items() for word in pair]
        records.append((b"entry", f"{at + 1}-0".encode(), *flat))
    records.append((b"group", b"workers", b"0"))
    return Item(
        "events", key.encode(), (Held(Header("stream").written(), b"".join(map(packed, records))).cell(),)
    )


def _keyed(corpus: Corpus) -> None:
    documents = {str(row["id"]): row for row in corpus.rows("documents")}
    objects = [
        object_item(f"documents/{TENANT}/{id}.txt", str(row["body"]).encode(), str(row["title"]))
        for id, row in list(documents.items())[:5]
    ]
    vectors = [
        vector_item(str(documents[str(row["document_id"])]["collection_id"]), str(row["document_id"]), int(row["ordinal"] or 0),
                    [float(one) for one in str(row["embedding"])[1:-1].split(",")])
        for row in corpus.rows("chunks")
    ]  # fmt: skip
    sessions = [
        text_key("sessions", f"session:{TENANT}:seed-{n}", json.dumps({"cursor": n, "filters": ["open"]}))
        for n in range(5)
    ]
    corpus.add("objects", opaque("documents"), objects)
    corpus.add("vectors", opaque("libraries"), vectors)
    corpus.add("redis", opaque("sessions"), sessions)
    corpus.add(
        "redis",
        opaque("events"),
        [
            stream_key(
                f"events:{TENANT}", [{"kind": "document.put", "request": f"seed-{n}"} for n in range(3)]
            )
        ],
    )
    corpus.add("redis", opaque("usage"), [text_key("usage", f"usage:{TENANT}:web:ask", "12")])


def masker(registry: Registry | None = None, master: bytes = b"k" * 32, **more: object) -> Masker:
    target = Target(TENANT, TARGET, aliases=("Acme Manufacturing",), target_name="Staging One")
    return Masker(
        registry or sandbox_registry(), MaskingKey(master, TENANT, TARGET), target,
        row_keys={"postgres": key_of}, forms=FORMS, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def prepared(corpus: Corpus, **more: object) -> Masker:
    made = masker(**more)  # type: ignore[arg-type]
    for store, shape, items in corpus:
        made.prepare(store, shape, items)
    made.ready()
    return made


def masked(corpus: Corpus, made: Masker) -> Corpus:
    """The clone."""
    clone = Corpus()
    for store, shape, items in corpus:
        clone.add(store, shape, [replace(item) for item in made.mask(store, shape, items)])
    return clone
