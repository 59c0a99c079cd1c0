"""A key of this store: the namespace, a NUL, the vector's id, as UTF-8; exact, for neither may contain a NUL.

The namespace that has no name is spelled ``__default__``, as the service lists it. The client library enters
keys of this form into the journal.
"""

from __future__ import annotations

#: How the service calls the namespace that requests mean when they name none.
DEFAULT_NAMESPACE = "__default__"
_LONGEST_NAME = 512


def encode(namespace: str, vector_id: str) -> bytes:
    """The key of a vector."""
    return f"{namespace or DEFAULT_NAMESPACE}\0{vector_id}".encode()


def decode(key: bytes) -> tuple[str, str] | None:
    """Namespace and id; None: no key of this store."""
    try:
        namespace, nul, vector_id = key.decode().partition("\0")
    except UnicodeDecodeError:
        return None
    return (namespace, vector_id) if nul and namespace and "\0" not in vector_id else None


def can_exist(name: str) -> bool:
    """Whether the service takes it for a namespace's name or a vector's id: 1 to 512 ASCII characters, no NUL."""
    return 1 <= len(name) <= _LONGEST_NAME and name.isascii() and "\0" not in name
