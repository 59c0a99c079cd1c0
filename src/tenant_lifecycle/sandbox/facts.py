"""How the ledger's keys and values are read from the sample application's tables, all as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Facts:
    """What of a table is compared."""

    #: Column (quoted where it must be) by name of the key's part, with its type for the look-up.
    key: Mapping[str, tuple[str, str]]
    #: SQL expression, of any type, by name of the value.
    values: Mapping[str, str]


FACTS: Mapping[str, Facts] = {
    "documents": Facts(
        {"id": ("id", "uuid")},
        {
            "title": "title",
            "body": "md5(body)",
            "v": "meta->>'v'",
            "tags": "array_to_string(tags, ',')",
            "status": "status",
            "parent": "parent_id",
        },
    ),
    "chunks": Facts(
        {"document": ("document_id", "uuid"), "ordinal": ("ordinal", "int")},
        {
            "content": "md5(content)",
            "length": "content_length",
            "embedding": "translate(embedding::text, '{}', '[]')",
        },
    ),
    "conversations": Facts({"id": ("id", "uuid")}, {"title": "title", "collection": "collection_id"}),
    "messages": Facts(
        {"ref": ("client_ref", "text")},
        {"content": "md5(content)", "tokens": "tokens", "conversation": "conversation_id"},
    ),
    "message_feedback": Facts({"id": ("id", "uuid")}, {"rating": "rating", "comment": "comment"}),
    "notes": Facts({"body": ("body", "text")}, {"document": "document_id", "tenant": "tenant_id"}),
    "usage_events": Facts(
        {"tenant": ("tenant_id", "text"), "kind": ("kind", "text")},
        {"quantity": "quantity", "month": "to_char(happened_at AT TIME ZONE 'UTC', 'YYYY-MM')"},
    ),
    "settings": Facts(
        {"tenant": ("tenant_id", "text"), "section": ("section", "text"), "name": ("name", "text")},
        {"slug": "slug", "v": "value->>'v'"},
    ),
    "users": Facts({"id": ("id", "uuid")}, {"name": "full_name"}),
    "memberships": Facts({"tenant": ("tenant_id", "text"), "user": ("user_id", "uuid")}, {"role": "role"}),
    "api_keys": Facts(
        {"id": ("id", "uuid")},
        {"label": "label", "secret": "encode(secret_hash, 'hex')", "from": "allowed_from"},
    ),
    "Bookmarks": Facts(
        {"tenant": ("tenant_id", "text"), "user": ('"userId"', "uuid"), "order": ('"order"', "int")},
        {"url": '"Target URL"', "weight": "weight"},
    ),
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number that several writers add to."""

    #: Names of the key's parts, in the order in which ``query`` returns them, the number last.
    key: tuple[str, ...]
    #: Takes ``tenants`` and ``firsts``, the values of ``narrow_by`` that are asked for.
    query: LiteralString
    narrow_by: str


AGGREGATES: Mapping[str, Aggregate] = {
    "counters": Aggregate(
        ("tenant", "name"),
        "SELECT tenant_id, name, n FROM counters WHERE tenant_id = ANY (%(tenants)s) AND name = ANY (%(firsts)s)",
        "name",
    ),
    # Keyless: all that can be said is how many equal rows there are.
    "audit_log": Aggregate(
        ("tenant", "actor", "action", "document"),
        "SELECT tenant_id, actor, action, coalesce(detail->>'document', ''), count(*) FROM audit_log "
        "WHERE tenant_id = ANY (%(tenants)s) AND actor = ANY (%(firsts)s) GROUP BY 1, 2, 3, 4",
        "actor",
    ),
    "burst_rows": Aggregate(
        ("conversation",),
        "SELECT conversation_id::text, count(*) FROM messages "
        "WHERE %(tenants)s::text[] IS NOT NULL AND conversation_id = ANY (%(firsts)s::uuid[]) GROUP BY 1",
        "conversation",
    ),
    "burst_tokens": Aggregate(
        ("conversation",),
        "SELECT conversation_id::text, sum(tokens) FROM messages "
        "WHERE %(tenants)s::text[] IS NOT NULL AND conversation_id = ANY (%(firsts)s::uuid[]) GROUP BY 1",
        "conversation",
    ),
}
