"""Erasing a tenant, as values and pure decisions: what was found, what it proves, and what may be said about it."""
