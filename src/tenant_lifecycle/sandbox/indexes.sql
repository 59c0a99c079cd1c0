-- Cheaper to build when the rows are there.
CREATE INDEX documents_by_collection ON documents (tenant_id, collection_id);
CREATE INDEX documents_by_parent ON documents (parent_id);
CREATE INDEX documents_of_collection ON documents (collection_id);
CREATE INDEX documents_by_tag ON documents USING gin (tags);
CREATE INDEX chunks_by_document ON chunks (document_id, ordinal);
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        CREATE INDEX chunks_by_embedding ON chunks USING hnsw (embedding vector_cosine_ops)
            WITH (m = 8, ef_construction = 32);
    END IF;
END $$;
CREATE INDEX conversations_by_collection ON conversations (collection_id) WHERE collection_id IS NOT NULL;
CREATE INDEX conversations_by_api_key ON conversations (api_key_id);
CREATE INDEX messages_by_conversation ON messages (conversation_id, created_at);
CREATE INDEX messages_by_client_ref ON messages (client_ref);
CREATE INDEX message_feedback_by_message ON message_feedback (message_id);
CREATE INDEX notes_by_document ON notes (document_id);
CREATE INDEX usage_events_by_kind ON usage_events (tenant_id, kind);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, at);
CREATE INDEX load_writes_by_seq ON load_writes (tenant_id, writer, seq);
