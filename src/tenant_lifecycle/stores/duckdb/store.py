"""DuckDB as a store of analytics: it is erased and searched; a move leaves it where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tenant_lifecycle.errors import ConfigError, LifecycleError
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.duckdb import databasefile, parquetfolder
from tenant_lifecycle.stores.duckdb.check import erasure_findings, verifier_findings
from tenant_lifecycle.stores.duckdb.rows import Layout, Rows
from tenant_lifecycle.stores.duckdb.search import FileEyes, FolderEyes
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Looked,
    Place,
    Planted,
    Settled,
)


class DuckDBStore:
    """One database file, or one folder of Parquet files."""

    kind = "duckdb"
    #: A clean look has read every row, name and file; what is packed inside a database file's blocks is not unpacked.
    proves = Level.EXHAUSTIVE

    def __init__(
        self, name: str, environment: str, path: Path, rules: KeyMap, ids: IdSource, *, moves: bool = True
    ) -> None:
        self.name, self.environment, self.path = name, environment, path
        #: False if the configuration says that its data stays where it is; it cannot be moved in any case.
        self.moves = moves
        declared = frozenset(rules.tables)
        self._eyes: FileEyes | FolderEyes
        if path.is_dir():
            layout: Layout = parquetfolder.ParquetFolder(name, path)
            self.rows = Rows(layout, rules, ids, parquetfolder.PLANTED, Method.REWRITE)
            self._eyes = FolderEyes(name, path, declared | {"tenant_lifecycle_planted"})
        else:
            layout = databasefile.DatabaseFile(name, path)
            self.rows = Rows(layout, rules, ids, databasefile.PLANTED, Method.DELETE)
            self._eyes = FileEyes(name, path, declared | {databasefile.PLANTED})

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> DuckDBStore:
        """What the entry point names. ``settings`` has ``path``, and ``moves: false`` if moves leave it alone.

        Raises:
            ConfigError: there is none.
        """
        if not settings.get("path"):
            raise ConfigError(
                f"store {environment}/{name} has no path",
                next_step="give it a DuckDB file, or a folder of Parquet files, in lifecycle.yaml",
            )
        rules = ownership.keys.get(name, KeyMap())
        moves = settings.get("moves", "true")
        if moves not in ("true", "false"):
            raise ConfigError(
                f"store {environment}/{name}: moves is {moves!r}", next_step="write true or false"
            )
        full = f"{environment}/{name}"
        return cls(full, environment, Path(settings["path"]), rules, ids, moves=moves == "true")

    # -- Store

    def probe(self) -> list[Finding]:
        return verifier_findings(self.rows.layout, self.path)

    def tenants(self) -> list[TenantId]:
        return []

    def holds(self, tenant: TenantId) -> bool:
        return any(size.items for size in self.rows.sizes(tenant))

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        return self.rows.sizes(tenant)

    def close(self) -> None:
        """Nothing stays open between uses: the file belongs to the application."""

    # -- Erases

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return erasure_findings(self.rows, self.path, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return self.rows.doomed(tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return self.rows.erase(erasing.tenant, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        check()
        done, left = self.rows.layout.settle(list(sets))
        return Settled(tuple(done), tuple(left))

    def horizon(self) -> Horizon | None:
        return None

    # -- Plants

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        return [Planted(self.rows.planted, self.rows.layout.plant(erasing.tenant, marker))]

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return verifier_findings(self.rows.layout, self.path)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:  # noqa: ARG002
        check()
        return self.rows.remaining(batch)

    def places(self) -> list[Place]:
        return self._eyes.places()

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        try:
            return self._eyes.search(place, found, check)
        except LifecycleError as exc:
            return Looked(0, 0, unread=str(exc))
