"""Keeping the repository: checking, mirroring, repairing, letting go, destroying keys, figures."""
