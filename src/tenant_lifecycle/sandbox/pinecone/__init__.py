"""An emulator of Pinecone's data plane and index calls, as an HTTP server of its own.

It tests our client code, not the product: what it does was written after the public interface (version 2026-07)
and the official client, never measured against the service. It can be slow, refuse, fail, lag behind its own
writes, hang and die, whenever a test wants it to.
"""

from tenant_lifecycle.sandbox.pinecone.server import PineconeServer

__all__ = ["PineconeServer"]
