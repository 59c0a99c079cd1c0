"""What one check has seen so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tenant_lifecycle.backups.care.ledger import Ledger, Verified
from tenant_lifecycle.backups.care.objects import Listed, Sort, directory_of, sort_of
from tenant_lifecycle.backups.care.report import Problem
from tenant_lifecycle.backups.care.tenantview import TenantView, view
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.backups.place import Place
from tenant_lifecycle.backups.repository import Repository

#: Called between two pieces of work; raises to stop.
Tick = Callable[[], None]


@dataclass(slots=True)
class Inspection:
    """One check while it runs."""

    repository: Repository
    listed: dict[str, Listed]
    ledger: Ledger
    problems: list[Problem] = field(default_factory=list)
    verified: list[Verified] = field(default_factory=list)
    bases: list[tuple[str, str]] = field(default_factory=list)
    bytes_read: int = 0
    _places: dict[str, Place] = field(default_factory=dict)
    _views: dict[str, TenantView] = field(default_factory=dict)

    def place(self, directory: Directory) -> Place:
        """The directory with its keys, the same one each time."""
        if directory.path not in self._places:
            self._places[directory.path] = self.repository.place(directory)
        return self._places[directory.path]

    def directories(self) -> list[Directory]:
        """Of every tenant that has something here."""
        found = {directory_of(name).path for name in self.listed}
        return [Directory(path) for path in sorted(found - {""})]

    def shredded(self, directory: Directory) -> bool:
        """Whether the tenant's keys were destroyed: its objects never open again, and nobody wants them to."""
        keys = [name for name in self.listed if name.startswith(directory.below("keys/"))]
        return bool(keys) and not any(sort_of(name) is Sort.KEY for name in keys)

    def view(self, directory: Directory) -> TenantView:
        """What the tenant's bases consist of, as far as it can be read."""
        if directory.path not in self._views:
            names = [name for name in self.listed if name.startswith(directory.below(""))]
            self._views[directory.path] = view(self.place(directory), names)
        return self._views[directory.path]
