"""The folder, and which of its files and lines are whose.

``families`` name files that are a tenant's alone, by their path from the folder (``tenants/{tenant}/*``); ``shared``
names files with lines of many, and where in a line the owner stands (``path: tenant_id`` of a line of JSON).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared

#: What a killed rewriting leaves; never taken for a log.
OURS = ".tenant-lifecycle-"
#: Endings that say how a file is packed, not which log it is.
PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and its rules."""

    #: For people: ``blue/logs``.
    name: str
    root: Path
    keys: KeyMap
    ids: IdSource
    #: Seconds that nobody wrote to a file before it is rewritten.
    quiet_s: float

    def files(self) -> Iterator[str]:
        """Paths of regular files from the folder, in order; links are not followed.

        Raises:
            StoreUnavailable: the folder is not there.
        """
        if not self.root.is_dir():
            raise StoreUnavailable(f"{self.name}: the folder is not there", store=self.name)
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder) / name
                if path.is_file() and not path.is_symlink() and not name.startswith(OURS):
                    yield path.relative_to(self.root).as_posix()

    def path(self, file: str) -> Path:
        return self.root / file

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        return self.keys.resolve(tenant, self.ids(tenant))

    def shared(self, tenant: TenantId) -> list[ResolvedShared]:
        return self.keys.resolve_shared(tenant, self.ids(tenant))

    def mentions(self, file: str) -> bool:
        return self.keys.mentions(file) or self.keys.mentions(unpacked(file))


def rule_of(rules: list[ResolvedShared], file: str) -> ResolvedShared | None:
    """The rule of a file with lines of many; ``app.log-1.gz`` follows the rule of ``app.log*``."""
    return next((rule for rule in rules if rule.containers.matches(file)), None)


def unpacked(file: str) -> str:
    """The name without the ending of its packing."""
    return next((file.removesuffix(end) for end in PACKED if file.endswith(end)), file)
