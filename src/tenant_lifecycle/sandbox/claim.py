"""What a writer of the load takes over before it begins: a slice of the seeded rows that nobody else writes."""

from __future__ import annotations

from typing import Any

import psycopg

from tenant_lifecycle.sandbox.ledger import Do, Effect
from tenant_lifecycle.sandbox.writes.hand import Belongings, Document

#: How many seeded documents and messages a writer takes at most.
LIMIT = 100


def claim(
    conn: psycopg.Connection[Any], tenant: str, place: int, places: int
) -> tuple[Belongings, list[Effect]]:
    """The belongings of writer number ``place`` of ``places``, and the present state of its rows as effects.

    Messages are claimed without their conversations: they are updated and deleted one by one.
    """
    conn.execute("SELECT set_config('app.tenant', %s, true)", (tenant,))
    slice_of = {"tenant": tenant, "place": place, "places": places, "limit": LIMIT}
    collections = [str(id) for (id,) in conn.execute(_COLLECTIONS, slice_of)]
    keys = [str(id) for (id,) in conn.execute(_KEYS, slice_of)]
    own = Belongings(collections, keys)
    effects: list[Effect] = []
    for id, body, version, status, chunks, notes, audits in conn.execute(_DOCUMENTS, slice_of):
        own.documents[id] = Document(id, int(version), status, chunks, list(notes))
        effects.append(
            Effect(Do.PUT, "documents", {"id": id}, {"body": body, "v": version, "status": status})
        )
        effects += [Effect(Do.PUT, "chunks", {"document": id, "ordinal": str(n)}) for n in range(chunks)]
        if audits:
            key = {"tenant": tenant, "actor": "trigger", "action": "document.status", "document": id}
            effects.append(Effect(Do.ADD, "audit_log", key, count=audits))
    for ref, content, tokens, conversation in conn.execute(_MESSAGES, slice_of):
        own.messages[ref] = conversation
        values = {"content": content, "tokens": str(tokens), "conversation": conversation}
        effects.append(Effect(Do.PUT, "messages", {"ref": ref}, values))
    return own, effects


_COLLECTIONS = "SELECT id::text FROM collections WHERE tenant_id = %(tenant)s ORDER BY id LIMIT 20"
_KEYS = "SELECT id::text FROM api_keys WHERE tenant_id = %(tenant)s AND label LIKE 'key %%' ORDER BY id"
_DOCUMENTS = """
WITH mine AS MATERIALIZED (
    SELECT d.id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM documents
                       WHERE tenant_id = %(tenant)s AND NOT tags && '{load}') d
     WHERE d.n %% %(places)s = %(place)s ORDER BY d.n LIMIT %(limit)s)
SELECT id::text, md5(body), coalesce(meta->>'v', '0'), status::text,
       (SELECT count(*) FROM chunks c WHERE c.document_id = d.id)::int,
       ARRAY(SELECT n.body FROM notes n WHERE n.document_id = d.id AND n.body LIKE 'note %%'),
       (SELECT count(*) FROM audit_log a WHERE a.tenant_id = d.tenant_id AND a.actor = 'trigger'
           AND a.detail->>'document' = d.id::text)::int
  FROM documents d WHERE id IN (SELECT id FROM mine) ORDER BY id
"""
_MESSAGES = """
SELECT m.client_ref, md5(m.content), m.tokens, m.conversation_id::text FROM messages m
 WHERE m.conversation_id IN (
        SELECT c.id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM conversations
                           WHERE collection_id IN (SELECT id FROM collections WHERE tenant_id = %(tenant)s)) c
         WHERE c.n %% %(places)s = %(place)s)
   AND m.client_ref LIKE 'seed-%%' ORDER BY m.id LIMIT %(limit)s
"""
