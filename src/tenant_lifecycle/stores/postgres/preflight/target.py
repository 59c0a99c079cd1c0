"""Pre-flight: the tenant on both sides as it is now, and who else writes there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.ownership import Root
from tenant_lifecycle.stores.postgres.mapcheck import check_places
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import PIECES, Pair, Side, listed
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_SUBSCRIPTIONS = f"""
WITH {PIECES}
SELECT s.subname::text AS name, s.subenabled AS enabled, array_agg(DISTINCT p.rel::regclass::text) AS tables
  FROM pieces p JOIN pg_subscription_rel r ON r.srrelid = p.rel JOIN pg_subscription s ON s.oid = r.srsubid
 GROUP BY 1, 2 ORDER BY 1
"""  # noqa: S608 - composed of constants

_LEFT_SLOTS = """
SELECT slot_name::text AS name, coalesce(wal_status, '?') AS wal_status FROM pg_replication_slots
 WHERE slot_name ~ '^tl_[a-z0-9]+_' AND NOT active AND NOT temporary AND database = current_database()
 ORDER BY 1
"""

_LEFT_PUBLICATIONS = """
SELECT p.pubname::text AS name FROM pg_publication p WHERE p.pubname ~ '^tl_[a-z0-9]+_'
   AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_name = p.pubname) ORDER BY 1
"""

_STATES = {
    ("source", "MOVED"): "the tenant was moved away from here; its writer is {target}",
    ("source", "STANDBY"): "the tenant is not the writer here, this side is being filled from {target}",
    ("source", "FENCED"): "the tenant's writes are being held, a flip is going on",
    ("target", "ACTIVE"): "the tenant is a writer here already",
    ("target", "FENCED"): "the tenant's writes are being held here, a flip is going on",
}


def check_tenant(pair: Pair) -> Iterator[Finding]:
    """The tenant must exist on the source."""
    source = pair.source
    said = _absent(source)
    if said:
        yield refuse(
            source.name, "pg.tenant-absent", f"tenant {pair.tenant!r} is not here: {said}",
            "tenantctl tenant list shows who is",
        )  # fmt: skip
    else:
        yield fine(source.name, "pg.tenant-absent", f"tenant {pair.tenant!r} is here")


def _absent(side: Side) -> str:
    """Why the tenant is not there; empty if it is."""
    roots = [name for name, rule in side.resolved.owned.items() if isinstance(rule, Root)]
    for root in roots:
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
            table_sql(root), owned_rows(side.resolved, root, "t")
        )
        try:
            row = side.conn.execute(query).fetchone()
        except psycopg.DataError:
            return f"that is no id of the kind that {root} has"
        return "" if row is not None and row[0] else f"{root} has no such row"
    if side.resolved.owned:
        return ""
    return "no schema of that name, or a schema without tables" if not roots else ""


def check_unmapped(pair: Pair) -> Iterator[Finding]:
    """Closed world: data that nobody assigned may be the tenant's."""
    for side in pair.sides:
        if unmapped := sorted(side.resolved.unmapped):
            yield refuse(
                side.name, "pg.unmapped", f"tables without a rule in the ownership map: {listed(unmapped, 20)}",
                "tenantctl map discover proposes rules; add them to ownership.yaml",
            )  # fmt: skip
        else:
            yield fine(side.name, "pg.unmapped", "every table has a rule in the ownership map")


def check_map_places(pair: Pair) -> Iterator[Finding]:
    """What the map names must be there, or the tenant's rows cannot be told from others."""
    source = pair.source
    for finding in check_places(source.name, source.conn, source.map, source.tables):
        if finding.severity is Severity.REFUSAL:
            yield replace(finding, code="pg.map")


def check_occupied(pair: Pair) -> Iterator[Finding]:
    """The target must hold no row of the tenant."""
    target = pair.target
    occupied = []
    for table in target.moved:
        if table.name in target.resolved.shared:
            continue
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE {})").format(
            table_sql(table.name), owned_rows(target.resolved, table.name, "t")
        )
        row = target.conn.execute(query).fetchone()
        if row is not None and row[0]:
            occupied.append(table.name)
    if occupied:
        yield refuse(
            target.name, "pg.target-occupied", f"rows of tenant {pair.tenant!r} are in {listed(occupied, 20)}",
            "an earlier move that was not completed or aborted? Its abort removes them: tenantctl op list",
        )  # fmt: skip
    else:
        yield fine(target.name, "pg.target-occupied", f"no rows of tenant {pair.tenant!r}")


def check_fences(pair: Pair) -> Iterator[Finding]:
    """The fence rows of an earlier life must allow this direction."""
    for role, side in (("source", pair.source), ("target", pair.target)):
        state, other = _fence(side, pair.tenant)
        if sentence := _STATES.get((role, state)):
            yield refuse(
                side.name, "pg.fence-state", f"{sentence.format(target=other or '?')} (fence {state})",
                "tenantctl tenant get shows where the tenant's writer is; move it from there",
            )  # fmt: skip
        else:
            yield fine(side.name, "pg.fence-state", f"fence: {state or 'none yet'}")


def _fence(side: Side, tenant: str) -> tuple[str, str | None]:
    there = side.conn.execute("SELECT to_regclass(%s)", (f"{OUR_SCHEMA}.fence",)).fetchone()
    if there is None or there[0] is None:
        return "", None
    row = side.conn.execute(
        "SELECT CASE WHEN state = 'FENCED' AND deadline < clock_timestamp() THEN 'ACTIVE' ELSE state END,"
        " target FROM tenant_lifecycle.fence WHERE tenant = %s",
        (tenant,),
    ).fetchone()
    return (str(row[0]), str(row[1]) if row[1] is not None else None) if row is not None else ("", None)


def check_subscriptions(pair: Pair) -> Iterator[Finding]:
    """A subscription's worker writes past the fence's trigger."""
    for side in pair.sides:
        with side.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_SUBSCRIPTIONS, {"oids": [table.oid for table in side.moved]}).fetchall()
        for row in rows:
            yield refuse(
                side.name, "pg.subscription",
                f"subscription {row['name']} writes into {listed(row['tables'])} past every fence",
                f'ALTER SUBSCRIPTION "{row["name"]}" DISABLE; and DROP SUBSCRIPTION "{row["name"]}";',
            )  # fmt: skip


def check_leftovers(pair: Pair) -> Iterator[Finding]:
    """Slots and publications of ours that nobody uses now: of an operation that sleeps, or of none any more."""
    for side in pair.sides:
        with side.conn.cursor(row_factory=dict_row) as cursor:
            slots = cursor.execute(_LEFT_SLOTS).fetchall()
            publications = cursor.execute(_LEFT_PUBLICATIONS).fetchall()
        for row in slots:
            yield warn(
                side.name, "pg.leftover-slot",
                f"slot {row['name']} of ours is not in use and holds back WAL (wal_status {row['wal_status']})",
                f"if tenantctl op list shows no operation for it: SELECT pg_drop_replication_slot('{row['name']}');",
            )  # fmt: skip
        for row in publications:
            yield warn(
                side.name, "pg.leftover-publication", f"publication {row['name']} of ours has no slot",
                f"if tenantctl op list shows no operation for it: DROP PUBLICATION {row['name']};",
            )  # fmt: skip
