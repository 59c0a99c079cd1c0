"""Pinecone as a store: namespaces of a tenant in one index."""
