-- What the sample application's writers send, under the names by which `Write.run` asks for it.

-- name: marker
INSERT INTO load_writes (tenant_id, writer, seq, payload)
VALUES (%(tenant)s, %(writer)s, %(seq)s, %(payload)s);

-- name: insert document
INSERT INTO documents (id, tenant_id, collection_id, parent_id, title, body, meta, tags)
VALUES (%(id)s, %(tenant)s, %(collection)s, %(parent)s, %(title)s, %(body)s, %(meta)s, '{load}');

-- name: insert chunk
INSERT INTO chunks (document_id, ordinal, content, embedding)
VALUES (%(id)s, %(ordinal)s, %(content)s, %(vector)s);

-- name: update document
UPDATE documents SET title = %(title)s, tags = %(tags)s, meta = jsonb_set(meta, '{v}', to_jsonb(%(v)s::int))
 WHERE id = %(id)s;

-- name: rewrite document
UPDATE documents SET body = %(body)s WHERE id = %(id)s;

-- name: set status
UPDATE documents SET status = %(status)s WHERE id = %(id)s;

-- name: delete document
DELETE FROM documents WHERE id = %(id)s;

-- name: insert note
INSERT INTO notes (document_id, tenant_id, body) VALUES (%(document)s, %(tenant)s, %(body)s);

-- name: insert conversation
INSERT INTO conversations (id, collection_id, api_key_id, title)
VALUES (%(id)s, %(collection)s, %(key)s, %(title)s);

-- name: file conversation
UPDATE conversations SET collection_id = %(collection)s WHERE id = %(id)s;

-- name: delete conversation
DELETE FROM conversations WHERE id = %(id)s;

-- name: insert message
INSERT INTO messages (conversation_id, client_ref, role, content, tokens)
VALUES (%(conversation)s, %(ref)s, 'user', %(content)s, %(tokens)s);

-- name: update message
UPDATE messages SET tokens = %(tokens)s WHERE client_ref = %(ref)s;

-- name: delete message
DELETE FROM messages WHERE client_ref = %(ref)s;

-- name: delete messages of conversation
DELETE FROM messages WHERE conversation_id = %(id)s;

-- name: insert feedback
INSERT INTO message_feedback (id, message_id, rating)
SELECT %(id)s, id, %(rating)s FROM messages WHERE client_ref = %(ref)s;

-- name: delete feedback of message
DELETE FROM message_feedback WHERE message_id IN (SELECT id FROM messages WHERE client_ref = %(ref)s);

-- name: delete feedback of conversation
DELETE FROM message_feedback WHERE message_id IN (SELECT id FROM messages WHERE conversation_id = %(id)s);

-- name: increment
INSERT INTO counters AS c (tenant_id, name, n) VALUES (%(tenant)s, %(name)s, 1)
ON CONFLICT (tenant_id, name) DO UPDATE SET n = c.n + 1;

-- name: insert setting
INSERT INTO settings (tenant_id, section, name, slug, value)
VALUES (%(tenant)s, %(section)s, %(name)s, %(slug)s, %(value)s);

-- name: update setting
UPDATE settings SET slug = %(slug)s, value = %(value)s
 WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s;

-- name: set slug
UPDATE settings SET slug = %(slug)s
 WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s;

-- name: rename setting
UPDATE settings SET name = %(new)s
 WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s;

-- name: delete setting
DELETE FROM settings WHERE tenant_id = %(tenant)s AND section = %(section)s AND name = %(name)s;

-- name: insert event
INSERT INTO usage_events (tenant_id, happened_at, kind, quantity)
VALUES (%(tenant)s, %(at)s, %(kind)s, %(quantity)s);

-- name: move event
UPDATE usage_events SET happened_at = %(at)s WHERE tenant_id = %(tenant)s AND kind = %(kind)s;

-- name: insert audit
INSERT INTO audit_log (tenant_id, at, actor, action)
SELECT %(tenant)s, now(), %(actor)s, 'load' FROM generate_series(1, %(count)s);

-- name: delete one audit
DELETE FROM audit_log WHERE ctid = (
    SELECT ctid FROM audit_log WHERE tenant_id = %(tenant)s AND actor = %(actor)s LIMIT 1);

-- name: amend audit
UPDATE audit_log SET action = 'amended' WHERE tenant_id = %(tenant)s AND actor = %(actor)s;

-- name: insert person
INSERT INTO users (id, email, full_name) VALUES (%(id)s, %(email)s, %(name)s);

-- name: insert membership
INSERT INTO memberships (tenant_id, user_id) VALUES (%(tenant)s, %(id)s);

-- name: rename person
UPDATE users SET full_name = %(name)s WHERE id = %(id)s;

-- name: delete membership
DELETE FROM memberships WHERE tenant_id = %(tenant)s AND user_id = %(id)s;

-- name: delete person
DELETE FROM users WHERE id = %(id)s;

-- name: upsert bookmark
INSERT INTO "Bookmarks" (tenant_id, "userId", "order", "Target URL", weight)
VALUES (%(tenant)s, %(user)s, %(order)s, %(url)s, %(weight)s)
ON CONFLICT (tenant_id, "userId", "order")
DO UPDATE SET "Target URL" = excluded."Target URL", weight = excluded.weight;

-- name: as tenant
SELECT set_config('app.tenant', %(tenant)s, true);

-- name: insert key
INSERT INTO api_keys (id, tenant_id, label, secret_hash, allowed_from)
VALUES (%(id)s, %(tenant)s, %(label)s, %(secret)s, '{10.1.0.0/16}');

-- name: delete key
DELETE FROM api_keys WHERE id = %(id)s;

-- name: burst conversation
INSERT INTO conversations (id, collection_id, title) VALUES (%(conversation)s, %(collection)s, 'burst')
ON CONFLICT (id) DO NOTHING;

-- name: burst insert
INSERT INTO messages (conversation_id, client_ref, role, content, tokens)
SELECT %(conversation)s, %(prefix)s || %(batch)s || '-' || n, 'assistant', 'Part ' || n || ' of a long answer.', 1
  FROM generate_series(1, %(count)s) n;

-- name: burst update
UPDATE messages SET tokens = tokens + 1 WHERE client_ref = ANY (
    ARRAY(SELECT %(prefix)s || %(batch)s || '-' || n FROM generate_series(1, %(count)s / 2) n));

-- name: burst delete
DELETE FROM messages WHERE client_ref = ANY (
    ARRAY(SELECT %(prefix)s || %(batch)s || '-' || n FROM generate_series(%(count)s / 2 + 1, %(count)s) n));
