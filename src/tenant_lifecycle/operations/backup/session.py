"""What one driver holds open for work on a tenant's backups: stores of one environment, and the repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from tenant_lifecycle.backups.contract import TenantRepository
from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.model.flip import FlipBudget
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation
from tenant_lifecycle.stores.backing import Backs, Previews, Writing
from tenant_lifecycle.stores.base import Fences, Store
from tenant_lifecycle.stores.windows import Windows


def writing_name(operation_id: str) -> str:
    """In whose name stores are written, and what a preview is called: [a-z0-9_], at most 40."""
    plain = "".join(c for c in operation_id.lower() if c.isascii() and c.isalnum())
    return f"r_{plain[-32:]}"


@dataclass(frozen=True)
class BackupSession:
    """Stores and services of one driver; everything that has to survive it stands elsewhere."""

    operation_id: str
    tenant: TenantId
    token: int
    environment: str
    #: By their name inside the environment.
    stores: Mapping[str, Store]
    repository: TenantRepository
    #: The tier whose policy the tenant's backups follow.
    tier: str = ""
    flip: FlipBudget = field(default_factory=FlipBudget)
    close_stores: Callable[[], None] = field(default=lambda: None)

    @property
    def writing(self) -> Writing:
        return Writing(writing_name(self.operation_id), self.tenant, self.token)

    @property
    def backed(self) -> Mapping[str, Backs]:
        """Stores that can be read whole."""
        return {name: store for name, store in self.stores.items() if isinstance(store, Backs)}

    def previews(self, name: str) -> Previews:
        """A store that can be restored to.

        Raises:
            UnsupportedByStore: it cannot, or is not configured any more.
        """
        store = self.stores.get(name)
        if not isinstance(store, Previews):
            raise UnsupportedByStore(
                f"{self.environment}/{name} is not there, or cannot be restored to",
                next_step="give the environment the store that the backup was taken from, in lifecycle.yaml",
            )
        return store

    @property
    def judge(self) -> Judge:
        """The store whose fence holds the tenant's writes.

        Raises:
            UnsupportedByStore: no store of the environment can.
        """
        return judge_of(self.environment, self.stores)

    def close(self) -> None:
        self.close_stores()


@runtime_checkable
class Judge(Fences, Windows, Protocol):
    """A store that fences, and holds writes for a time."""


def judge_of(environment: str, stores: Mapping[str, Store]) -> Judge:
    """As `BackupSession.judge`."""
    for store in stores.values():
        if isinstance(store, Judge):
            return store
    raise UnsupportedByStore(
        f"no store of {environment} can hold a tenant's writes while they are replaced",
        next_step="restore in place needs a PostgreSQL store in the environment; restore as a new tenant does not",
    )


#: Opens a session for an operation and a driver token.
OpenBackup = Callable[[Operation, int], BackupSession]
