"""What one driver of a clone holds open: the source's repository, the target's stores, rules and key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenant_lifecycle.backups.contract import Moment, TenantRepository
from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.masking.compiled import RowKey
from tenant_lifecycle.masking.forms import Form
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.model.backup.clone import Clone, CloneState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation
from tenant_lifecycle.operations.backup.session import writing_name
from tenant_lifecycle.operations.restore.moments import Chosen, moment_of
from tenant_lifecycle.stores.backing import Backs, Preview, Previews, ReadsBack, Writing
from tenant_lifecycle.stores.base import Store


class Register(Protocol):
    """Where clones are noted."""

    def enter(self, new: Clone) -> Clone:
        """Raises TargetOccupied if a clone of that name is there."""

    def get(self, clone_id: str) -> Clone: ...

    def move(self, clone_id: str, state: CloneState) -> None: ...

    def judged(self, clone_id: str, report: Mapping[str, Any], envelope: bytes | None) -> None: ...


@dataclass
class CloneSession:
    """Everything a step of a clone needs."""

    operation_id: str
    source: TenantId
    #: The clone's own tenant id.
    tenant: TenantId
    token: int
    environment: str
    #: The target environment's, by their name inside it.
    stores: Mapping[str, Store]
    #: Opens the source's; not called where a clone is only taken away, for its source may be erased by then.
    open_repository: Callable[[], TenantRepository]
    chosen: Chosen
    register: Register
    open_registry: Callable[[], Registry]
    #: How a row's key is made, by store with rows; how items of the others are taken apart.
    row_keys: Mapping[str, RowKey]
    forms: Mapping[str, Form]
    #: Signs a payload of a type; None: nobody's key is configured.
    sign: Callable[[str, bytes], bytes] | None = None
    close_stores: Callable[[], None] = field(default=lambda: None)
    _moment: Moment | None = None
    _repository: TenantRepository | None = None
    _registry: Registry | None = None

    @property
    def repository(self) -> TenantRepository:
        """The source's."""
        if self._repository is None:
            self._repository = self.open_repository()
        return self._repository

    @property
    def registry(self) -> Registry:
        """What every place of the source's data is."""
        if self._registry is None:
            self._registry = self.open_registry()
        return self._registry

    @property
    def moment(self) -> Moment:
        """The source at the moment that is cloned."""
        if self._moment is None:
            self._moment = moment_of(self.repository, self.chosen)
        return self._moment

    @property
    def writing(self) -> Writing:
        return Writing(writing_name(self.operation_id), self.tenant, self.token)

    def previews(self, name: str) -> Previews:
        """A store that the clone can be put into.

        Raises:
            UnsupportedByStore: it cannot, or is not there.
        """
        store = self.stores.get(name)
        if not isinstance(store, Previews):
            raise UnsupportedByStore(
                f"{self.environment}/{name} is not there, or a clone cannot be put into it",
                next_step="give the environment that store in lifecycle.yaml",
            )
        return store

    def preview(self, name: str) -> Preview:
        """Where the clone lies until it passed the gate."""
        return self.previews(name).open_preview(
            self.tenant,
            writing_name(self.operation_id),
            self.moment.shapes(name),
            self.moment.base(name).facts,
        )

    def read_back(self, name: str) -> ReadsBack:
        """The same, to be read.

        Raises:
            UnsupportedByStore: it cannot be read, so nobody could say what is in it.
        """
        preview = self.preview(name)
        if not isinstance(preview, ReadsBack):
            raise UnsupportedByStore(
                f"what is put into {self.environment}/{name} cannot be read before it is shown",
                next_step="no clone can be made there; a newer version of its plug-in may help",
            )
        return preview

    def backs(self, name: str) -> Backs:
        """A store that can be read whole."""
        store = self.stores.get(name)
        if not isinstance(store, Backs):
            raise UnsupportedByStore(f"{self.environment}/{name} cannot be read whole")
        return store

    def close(self) -> None:
        self.close_stores()


#: Opens a session for an operation and a driver token.
OpenClone = Callable[[Operation, int], CloneSession]
