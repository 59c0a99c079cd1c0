"""Findings of this store in few words; ``subject`` is the store's name and not part of the message."""

from __future__ import annotations

from tenant_lifecycle.model.findings import Finding, Severity


def refuse(subject: str, code: str, message: str, next_step: str) -> Finding:
    """The operation must not start."""
    return Finding(f"pinecone.{code}", Severity.REFUSAL, message, next_step, subject)


def warn(subject: str, code: str, message: str, next_step: str = "") -> Finding:
    """A person should know."""
    return Finding(f"pinecone.{code}", Severity.WARNING, message, next_step, subject)


def fine(subject: str, code: str, message: str) -> Finding:
    """Looked at, and in order."""
    return Finding(f"pinecone.{code}", Severity.OK, message, "", subject)
