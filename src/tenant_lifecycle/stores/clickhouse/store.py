"""ClickHouse as a store of analytics: it is erased and searched; a move leaves it where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tenant_lifecycle.errors import ConfigError, UnmappedData
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.keymap import IdSource, KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.clickhouse import check as checks
from tenant_lifecycle.stores.clickhouse import erase, search, settle
from tenant_lifecycle.stores.clickhouse.server import Server
from tenant_lifecycle.stores.clickhouse.slices import PLANTED, Map, Slice, doomed, slices
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


class ClickHouseStore:
    """One database of one server."""

    kind = "clickhouse"
    #: A clean look has read every row of every active part, hidden ones too; old parts on disk SQL does not show.
    proves = Level.EXHAUSTIVE

    def __init__(
        self, server: Server, environment: str, rules: KeyMap, ids: IdSource, *, moves: bool = True
    ) -> None:
        self.name, self.environment = server.name, environment
        #: False if the configuration says that its data stays where it is; it cannot be moved in any case.
        self.moves = moves
        self.map = Map(server, rules, ids)

    @classmethod
    def from_config(
        cls,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> ClickHouseStore:
        """What the entry point names. ``settings`` has ``url``; ``database``, ``user``, ``password``, ``moves``.

        Raises:
            ConfigError: there is no address, or one of another kind.
        """
        full, url = f"{environment}/{name}", settings.get("url", "")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(
                f"store {full} has no url",
                next_step="give it the address of the HTTP interface in lifecycle.yaml",
            )
        moves = settings.get("moves", "true")
        if moves not in ("true", "false"):
            raise ConfigError(f"store {full}: moves is {moves!r}", next_step="write true or false")
        server = Server(
            full,
            url,
            settings.get("database", "default"),
            settings.get("user", "default"),
            settings.get("password", ""),
        )
        return cls(server, environment, ownership.keys.get(name, KeyMap()), ids, moves=moves == "true")

    # -- Store

    def probe(self) -> list[Finding]:
        return checks.reachable(self.map)

    def tenants(self) -> list[TenantId]:
        return []

    def holds(self, tenant: TenantId) -> bool:
        return any(size.items for size in self.inventory(tenant))

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        with self.map.server.session() as client:
            tables = self.map.tables(client)
            resolved = self.map.resolve(tenant, tables)
            if resolved.unmapped:
                raise UnmappedData(
                    f"{self.name}: no rule in ownership.yaml for {', '.join(sorted(resolved.unmapped))}",
                    next_step="add them under stores, to tables or to global",
                )
            counts = {
                name: sum(one.rows for one in slices(client, name, rule.column, sorted(rule.values)))
                for name, rule in resolved.owned.items()
            }
        return [
            SetSize(one, count, int(count * tables[one].row_bytes), True) for one, count in counts.items()
        ]

    def close(self) -> None:
        """Nothing stays open between uses."""

    # -- Erases

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        return checks.erasure_findings(self.map, tenant)

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        return doomed(self.map, tenant, check)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        return erase.erase(self.map, erasing.tenant, batch, check)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        return settle.settle(self.map, sets, check)

    def horizon(self) -> Horizon | None:
        return None

    # -- Plants

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        values = {"tenant": erasing.tenant, "marker": marker}
        with self.map.server.session() as client:
            client.command("CREATE DATABASE IF NOT EXISTS tenant_lifecycle")
            client.command(
                f"CREATE TABLE IF NOT EXISTS {PLANTED} (tenant String, body String) "
                "ENGINE = MergeTree PARTITION BY tenant ORDER BY body"
            )
            client.command(
                f"INSERT INTO {PLANTED} SELECT {{tenant:String}}, {{marker:String}} WHERE ({{tenant:String}}, "
                f"{{marker:String}}) NOT IN (SELECT tenant, body FROM {PLANTED})",
                parameters=values,
            )
        return [Planted(PLANTED, 1)]

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return checks.reachable(self.map)

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:
        check()
        with self.map.server.session() as client:
            tables = self.map.tables(client)
            if batch.set not in tables:
                return frozenset()
            rule = self.map.rule_of(self.map.resolve(tenant, tables), batch.set)
            if rule is None:
                return frozenset(batch.keys)
            wanted = {key: Slice.of(key) for key in batch.keys}
            there = {
                (one.partition, one.value)
                for one in slices(client, batch.set, rule.column, sorted({s.value for s in wanted.values()}))
            }
        return frozenset(key for key, one in wanted.items() if (one.partition, one.value) in there)

    def places(self) -> list[Place]:
        return search.places(self.map.server, frozenset(self.map.rules.tables) | {PLANTED})

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        return search.search(self.map.server, place, found, check)
