"""What an application has to be told when nobody can know whether its transaction happened."""

from __future__ import annotations

from tenant_lifecycle.errors import LifecycleError


class UnknownOutcome(LifecycleError):
    """The connection was lost during COMMIT: the transaction is committed, or it is not, and as a whole."""

    def __init__(self, tenant: str, environment: str) -> None:
        super().__init__(
            f"the connection to {environment} was lost during the COMMIT of a transaction of tenant {tenant}",
            next_step="look whether the transaction's effect is there before repeating it",
        )
        self.tenant = tenant
        self.environment = environment


class BlockEnded(LifecycleError):
    """A block wanted to write to a store when it could no longer be sure of the tenant's lock; nothing was written."""


class JournalUnreachable(LifecycleError):
    """The key could not be entered in the journal, so it must not be written; the block fails as a whole."""

    retryable = True
