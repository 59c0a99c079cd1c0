"""Reasons not to begin an erasure in ClickHouse. Changes nothing."""

from __future__ import annotations

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.clickhouse.server import rows
from tenant_lifecycle.stores.clickhouse.slices import Map, is_partitioned_by


def erasure_findings(map_: Map, tenant: TenantId) -> list[Finding]:
    """Refusals: no answer, tables without a rule, without its column, or of an engine that cannot delete."""
    subject = map_.server.name
    try:
        with map_.server.session() as client:
            tables = map_.tables(client)
            columns = {
                (str(table), str(column))
                for table, column in rows(client, "SELECT database || '.' || table, name FROM system.columns")
            }
    except LifecycleError as exc:
        return [_refuse(subject, "clickhouse.reachable", str(exc), exc.next_step)]
    found = []
    resolved = map_.resolve(tenant, tables)
    if resolved.unmapped:
        names = ", ".join(sorted(resolved.unmapped)[:20])
        found.append(
            _refuse(subject, "clickhouse.unmapped", f"no rule in ownership.yaml for {names}", "add them to tables or to global")
        )  # fmt: skip
    for name, rule in resolved.owned.items():
        table = tables[name]
        if (name, rule.column) not in columns:
            found.append(
                _refuse(
                    subject,
                    "clickhouse.column",
                    f"{name} has no column {rule.column}",
                    "correct ownership.yaml",
                )
            )
        elif not table.can_delete:
            found.append(
                _refuse(subject, "clickhouse.engine", f"{name} has the engine {table.engine}, which cannot delete rows",
                        "move it to a MergeTree, or empty it by hand")
            )  # fmt: skip
        elif not is_partitioned_by(table, rule.column):
            found.append(
                Finding("clickhouse.rewrite", Severity.WARNING, f"{name} is not partitioned by {rule.column}: whole parts are "
                        "written anew, and the old ones stay on disk for old_parts_lifetime", "", subject)
            )  # fmt: skip
    return found or [Finding("clickhouse.ready", Severity.OK, "every table has a rule", "", subject)]


def reachable(map_: Map) -> list[Finding]:
    """Refusals for a server that does not answer."""
    try:
        with map_.server.session() as client:
            version = client.server_version
    except LifecycleError as exc:
        return [_refuse(map_.server.name, "clickhouse.reachable", str(exc), exc.next_step)]
    return [Finding("clickhouse.reachable", Severity.OK, f"version {version} answers", "", map_.server.name)]


def _refuse(subject: str, code: str, message: str, next_step: str) -> Finding:
    return Finding(code, Severity.REFUSAL, message, next_step or "mend that, then ask again", subject)
