"""A small multi-tenant RAG service: what an application looks like that can be moved, one tenant at a time."""
