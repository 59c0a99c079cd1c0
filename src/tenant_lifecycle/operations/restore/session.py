"""What one driver of a restore holds open: a backup's session, the moment, and the window while it is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.backups.contract import Moment
from tenant_lifecycle.model.backup.policy import RestorePolicy
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.operation import Operation
from tenant_lifecycle.operations.backup.session import BackupSession, writing_name
from tenant_lifecycle.operations.restore.moments import Chosen, moment_of
from tenant_lifecycle.stores.backing import Preview


@dataclass
class RestoreSession:
    """Everything a step of a restore needs."""

    backup: BackupSession
    chosen: Chosen
    #: Only these sets, by store; empty: everything.
    only: Mapping[str, Sequence[str]]
    policy: RestorePolicy = field(default_factory=RestorePolicy)
    _moment: Moment | None = None

    @property
    def moment(self) -> Moment:
        """The moment that is restored; computed once for each driver."""
        if self._moment is None:
            self._moment = moment_of(self.backup.repository, self.chosen)
        return self._moment

    def shapes(self, store: str) -> Mapping[str, Shape]:
        """Of the sets that are restored; parents of single ones too, for a preview must stand by itself."""
        return self.moment.shapes(store)

    def preview(self, store: str) -> Preview:
        """The preview in a store, made if it is not there."""
        return self.backup.previews(store).open_preview(
            self.backup.tenant,
            writing_name(self.backup.operation_id),
            self.shapes(store),
            self.moment.base(store).facts,
        )

    def close(self) -> None:
        self.backup.close()


#: Opens a session for an operation and a driver token.
OpenRestore = Callable[[Operation, int], RestoreSession]
