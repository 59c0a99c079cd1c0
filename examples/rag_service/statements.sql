-- What the service sends to PostgreSQL, under the names by which `run` asks for it.

-- name: lock request
-- Two sendings of one request take turns, so that the second one sees that the first one did it.
SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s || ' ' || %(client)s || '-' || %(number)s, 0));

-- name: request done
SELECT FROM load_writes WHERE tenant_id = %(tenant)s AND writer = %(client)s AND seq = %(number)s;

-- name: remember request
INSERT INTO load_writes (tenant_id, writer, seq, payload)
VALUES (%(tenant)s, %(client)s, %(number)s, %(kind)s);

-- name: collections
SELECT id::text, slug::text FROM collections WHERE tenant_id = %(tenant)s ORDER BY slug;

-- name: put document
-- No row comes back if the id belongs to another tenant.
INSERT INTO documents AS d (id, tenant_id, collection_id, title, body, meta, tags, status)
VALUES (%(id)s, %(tenant)s, %(collection)s, %(title)s, %(body)s,
        jsonb_build_object('v', 1, 'object', %(object)s::text, 'sha256', %(sha256)s::text), '{api}', 'indexed')
ON CONFLICT (id) DO UPDATE
   SET title = excluded.title, body = excluded.body, status = 'indexed',
       meta = d.meta || excluded.meta || jsonb_build_object('v', coalesce((d.meta->>'v')::int, 0) + 1)
 WHERE d.tenant_id = excluded.tenant_id
RETURNING (meta->>'v')::int, collection_id::text;

-- name: drop chunks
DELETE FROM chunks WHERE document_id = %(document)s RETURNING ordinal;

-- name: insert chunk
INSERT INTO chunks (document_id, ordinal, content, embedding)
VALUES (%(document)s, %(ordinal)s, %(content)s, %(embedding)s);

-- name: lock document
SELECT collection_id::text FROM documents WHERE id = %(id)s AND tenant_id = %(tenant)s FOR UPDATE;

-- name: delete document
DELETE FROM documents WHERE id = %(id)s;

-- name: get document
SELECT d.id::text, d.title, d.status::text, d.tags, coalesce((d.meta->>'v')::int, 0), d.meta->>'object', d.body,
       (SELECT count(*) FROM chunks c WHERE c.document_id = d.id)
  FROM documents d WHERE d.id = %(id)s AND d.tenant_id = %(tenant)s;

-- name: list documents
SELECT id::text, title, status::text, coalesce((meta->>'v')::int, 0) FROM documents
 WHERE tenant_id = %(tenant)s AND id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: chunks by place
-- The database decides which of the vectors that were found still stand for something.
SELECT c.document_id::text, c.ordinal, c.content, coalesce((d.meta->>'v')::int, 0)
  FROM unnest(%(documents)s::uuid[], %(ordinals)s::int[]) AS w (document_id, ordinal)
  JOIN chunks c ON c.document_id = w.document_id AND c.ordinal = w.ordinal
  JOIN documents d ON d.id = c.document_id AND d.tenant_id = %(tenant)s;

-- name: versions
SELECT id::text, coalesce((meta->>'v')::int, 0) FROM documents
 WHERE id = ANY (%(ids)s::uuid[]) AND tenant_id = %(tenant)s;

-- name: put conversation
INSERT INTO conversations (id, collection_id, title) VALUES (%(id)s, %(collection)s, %(title)s)
ON CONFLICT (id) DO NOTHING;

-- name: owns conversation
SELECT FROM conversations c JOIN collections l ON l.id = c.collection_id
 WHERE c.id = %(id)s AND l.tenant_id = %(tenant)s;

-- name: insert message
INSERT INTO messages (conversation_id, client_ref, role, content, tokens)
VALUES (%(conversation)s, %(ref)s, %(role)s, %(content)s, %(tokens)s);

-- name: messages
SELECT m.client_ref, m.role, m.content FROM messages m JOIN conversations c ON c.id = m.conversation_id
  JOIN collections l ON l.id = c.collection_id
 WHERE m.conversation_id = %(id)s AND l.tenant_id = %(tenant)s ORDER BY m.id LIMIT 1000;
