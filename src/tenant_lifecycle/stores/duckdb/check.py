"""Reasons not to begin an erasure in analytics, and whether everything can be read."""

from __future__ import annotations

import os
from pathlib import Path

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.duckdb.parquetfolder import ParquetFolder
from tenant_lifecycle.stores.duckdb.rows import Layout, Rows


def erasure_findings(rows: Rows, path: Path, tenant: TenantId) -> list[Finding]:
    """Refusals: nothing there, a table without a rule or without its column, no right to write. Changes nothing."""
    subject = rows.layout.store
    found = verifier_findings(rows.layout, path)
    if any(finding.severity is Severity.REFUSAL for finding in found):
        return found
    try:
        resolved = rows.resolve(tenant)
    except LifecycleError as exc:
        return [_refuse(subject, "duckdb.readable", str(exc), exc.next_step)]
    if resolved.unmapped:
        names = ", ".join(sorted(resolved.unmapped)[:20])
        found.append(
            _refuse(subject, "duckdb.unmapped", f"no rule in ownership.yaml for {names}", "add them to tables or to global")
        )  # fmt: skip
    found += [
        _refuse(subject, "duckdb.column", problem, "correct ownership.yaml")
        for problem in _columns(rows, resolved.tenant)
    ]
    if not all(os.access(one, os.W_OK) for one in (path, path.parent)):
        found.append(
            _refuse(subject, "duckdb.writable", f"{path.name} cannot be written", "give this user the right")
        )
    if isinstance(rows.layout, ParquetFolder):
        others = [one for one in rows.layout.files() if not one.endswith(".parquet")]
        if others:
            found.append(
                _refuse(subject, "duckdb.unmapped", f"{len(others)} files that are no Parquet, such as {others[0]}",
                        "move them away, or erase them by hand; nothing of ours can")
            )  # fmt: skip
    return found or [Finding("duckdb.ready", Severity.OK, "every table has a rule", "", subject)]


def verifier_findings(layout: Layout, path: Path) -> list[Finding]:
    """Refusals for what cannot be read."""
    if not path.exists():
        return [
            _refuse(
                layout.store, "duckdb.there", f"there is no {path.name}", "correct path in lifecycle.yaml"
            )
        ]
    try:
        layout.sets()
    except LifecycleError as exc:
        return [_refuse(layout.store, "duckdb.readable", str(exc), exc.next_step)]
    return []


def _columns(rows: Rows, tenant: str) -> list[str]:
    """Tables whose rule names a column that they lack."""
    resolved = rows.resolve(TenantId(tenant))
    problems = []
    for one in rows.layout.sets():
        rule = resolved.owned.get(rows.layout.table_of(one))
        in_path = rule is not None and any(part.startswith(f"{rule.column}=") for part in one.split("/"))
        if rule is not None and not in_path and rule.column not in rows.layout.columns(one):
            problems.append(f"{one} has no column {rule.column}")
    return problems


def _refuse(subject: str, code: str, message: str, next_step: str) -> Finding:
    return Finding(code, Severity.REFUSAL, message, next_step or "mend that, then ask again", subject)
