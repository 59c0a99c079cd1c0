"""Qdrant as a store: collections or payload filters of a tenant."""
