"""What one driver of a drill holds open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenant_lifecycle.backups.contract import Moment
from tenant_lifecycle.model.backup.drill import DrillResult
from tenant_lifecycle.model.operation import Operation
from tenant_lifecycle.operations.backup.session import BackupSession, writing_name
from tenant_lifecycle.operations.restore.moments import Chosen, moment_of
from tenant_lifecycle.stores.backing import Preview


class Results(Protocol):
    """Where results are kept."""

    def keep(self, result: DrillResult, envelope: bytes | None) -> None:
        """Once; the same again changes nothing."""


@dataclass
class DrillSession:
    """Everything a step of a drill needs."""

    backup: BackupSession
    chosen: Chosen
    results: Results
    #: Signs a payload of a type; None: nobody's key is configured.
    sign: Callable[[str, bytes], bytes] | None = None
    _moment: Moment | None = None

    @property
    def moment(self) -> Moment:
        if self._moment is None:
            self._moment = moment_of(self.backup.repository, self.chosen)
        return self._moment

    def preview(self, store: str) -> Preview:
        """The scratch place in a store."""
        return self.backup.previews(store).open_preview(
            self.backup.tenant,
            writing_name(self.backup.operation_id),
            self.moment.shapes(store),
            self.moment.base(store).facts,
        )

    def close(self) -> None:
        self.backup.close()


#: Opens a session for an operation and a driver token.
OpenDrill = Callable[[Operation, int], DrillSession]
