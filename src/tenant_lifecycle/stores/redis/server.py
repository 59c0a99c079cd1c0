"""One Redis server of one environment: how to reach it, and whose keys are whose in it.

Every story of this store (copy, comparison, hints ...) is a module of its own whose functions take a `Server`;
the store class only joins them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from tenant_lifecycle.stores.redis.connection import Session, Wire
from tenant_lifecycle.stores.redis.whose import Whose


@dataclass
class Server:
    """Where a tenant's keys are; safe to use from several threads."""

    #: For people and errors: ``blue/redis``.
    name: str
    environment: str
    wire: Wire
    whose: Whose

    def session(self) -> AbstractContextManager[Session]:
        """Borrow a connection."""
        return self.wire.session()

    def close(self) -> None:
        self.wire.close()
