"""Proving an ownership map on a live database, by difference.

Every table is mapped; every column that the map names exists and can be compared; the rows of all tenants
and the orphans are all rows of a table; no row has two owners. Counts are made by SQL for all tenants at
once, never tenant by tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
from psycopg import sql

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.mapreport import MapReport, TableOwners
from tenant_lifecycle.model.maprules import problems
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import Direct, Hop, OwnershipMap, ResolvedMap, Root, Shared, Via
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.every_owner import OWNER, rows_with_owner
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.tables import Table, read_tables
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

Tables = Mapping[TableName, Table]


def check_map(database: Database) -> MapReport:
    """Prove the database's own map on it; reads every row of every owned table once, changes nothing."""
    subject, map_ = database.name, database.map
    with database.session() as conn:
        tables = read_tables(conn)
        resolved = map_.resolve(TenantId(""), frozenset(tables))
        found = [
            *(refuse(subject, "map.rule", str(p.message), "mend ownership.yaml") for p in problems(map_)),
            *_closed_world(subject, resolved),
            *check_places(subject, conn, map_, tables),
        ]
        if any(finding.code in ("map.rule", "map.place") for finding in found):
            return MapReport((), tuple(found))
        numbers = []
        for name in resolved.moved:
            if map_.root is not None:
                numbers.append(_count(conn, resolved, map_.root, tables, name))
                found += _judge(subject, numbers[-1])
        found += _stray_schemas(subject, conn, map_, tables)
        return MapReport(tuple(numbers), tuple(found))


def _closed_world(subject: str, resolved: ResolvedMap) -> Iterator[Finding]:
    for table in sorted(resolved.unmapped):
        yield refuse(
            subject, "map.unmapped", f"table {table} has no rule",
            "tenantctl map discover proposes one; add it to ownership.yaml",
        )  # fmt: skip
    if not resolved.unmapped:
        yield fine(subject, "map.unmapped", "every table has a rule")


def check_places(subject: str, conn: Connection, map_: OwnershipMap, tables: Tables) -> Iterator[Finding]:
    """Refusals for each table or column that the map names and the database lacks, or cannot compare."""
    root = map_.root
    for name, rule in map_.tables.items():
        if name not in tables:
            yield warn(
                subject, "map.table-absent", f"the map has table {name}, the database does not",
                "remove it from ownership.yaml, or create it",
            )  # fmt: skip
            continue
        match rule:
            case Root(column) | Direct(column):
                pairs = [(name, column, root, _root_column(map_))]
            case Via(hops):
                pairs = [pair for hop in hops for pair in _hop_pairs(map_, name, hop)]
            case Shared(through, column, key):
                pairs = [(name, key, through, column)]
            case _:
                pairs = []
        for pair in pairs:
            yield from _comparable(subject, conn, tables, *pair, root)


def _root_column(map_: OwnershipMap) -> str | None:
    rule = map_.tables[map_.root] if map_.root is not None else None
    return rule.column if isinstance(rule, Root) else None


def _hop_pairs(
    map_: OwnershipMap, name: TableName, hop: Hop
) -> list[tuple[TableName, str, TableName | None, str | None]]:
    if hop.parent is None:
        return [(name, hop.columns[0], map_.root, _root_column(map_))]
    return [
        (name, mine, hop.parent, theirs) for mine, theirs in zip(hop.columns, hop.parent_columns, strict=True)
    ]


def _comparable(
    subject: str,
    conn: Connection,
    tables: Tables,
    table: TableName,
    column: str,
    parent: TableName | None,
    theirs: str | None,
    root: TableName | None,
) -> Iterator[Finding]:
    types = []
    for place, name in ((table, column), (parent, theirs)):
        if place is None or name is None:
            return
        if place not in tables or name not in {c.name for c in tables[place].columns}:
            lacking = f"column {place}.{name}" if place in tables else f"table {place}"
            yield refuse(
                subject, "map.place", f"the rule of {table} needs {lacking}, which is not there",
                "correct the name in ownership.yaml",
            )  # fmt: skip
            return
        types.append(tables[place].column(name).type)
    if parent == root:
        return  # tenants' ids are compared as text
    try:
        conn.execute(f"SELECT NULL::{types[0]} = NULL::{types[1]}".encode())
    except psycopg.errors.UndefinedFunction:
        yield refuse(
            subject, "map.place",
            f"{table}.{column} ({types[0]}) cannot be compared with {parent}.{theirs} ({types[1]})",
            "name another column in ownership.yaml",
        )  # fmt: skip


def _count(
    conn: Connection, resolved: ResolvedMap, root: TableName, tables: Tables, name: TableName
) -> TableOwners:
    root_rule = resolved.owned[root]
    assert isinstance(root_rule, Root)
    tenants = sql.SQL("(SELECT DISTINCT {}::text AS id FROM {})").format(
        sql.Identifier(root_rule.column), table_sql(root)
    )
    if name in resolved.shared:
        return _count_people(conn, resolved, tenants, name)
    rule = resolved.owned[name]
    hops = rule.hops if isinstance(rule, Via) else ()
    disputed = sql.SQL(" OR ").join(
        sql.SQL("{} <> {}").format(sql.Identifier(f"tl_hop{number}"), OWNER) for number in range(len(hops))
    )
    rows = rows_with_owner(resolved, name)
    if not all(_unique(tables, hop) for hop in hops):
        # A row with several parents: its first owner counts, another one is a dispute.
        rows = sql.SQL(
            "SELECT tableoid, ctid, min({owner}) AS {owner}, max({owner}) AS tl_hop0 FROM ({rows}) q"
            " GROUP BY tableoid, ctid"
        ).format(owner=OWNER, rows=rows)
        disputed = sql.SQL("tl_hop0 <> {}").format(OWNER)
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE r.id IS NOT NULL), count(*) FILTER (WHERE {owner} IS NULL),"
        " count(*) FILTER (WHERE {owner} IS NOT NULL AND r.id IS NULL), count(*) FILTER (WHERE {disputed})"
        " FROM ({rows}) q LEFT JOIN {tenants} r ON r.id = {owner}"
    ).format(
        owner=OWNER, rows=rows, tenants=tenants, disputed=disputed if hops else sql.SQL("FALSE")
    )  # fmt: skip
    return TableOwners(name, *_numbers(conn, query))


def _count_people(
    conn: Connection, resolved: ResolvedMap, tenants: sql.Composable, name: TableName
) -> TableOwners:
    rule = resolved.shared[name]
    members = rows_with_owner(resolved, rule.through, (rule.column,))
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE m.n > 0), count(*) FILTER (WHERE m.n IS NULL),"
        " count(*) FILTER (WHERE m.n = 0), 0, count(*) FILTER (WHERE m.n > 1) FROM {people} t LEFT JOIN"
        " (SELECT {column} AS who, count(DISTINCT r.id) AS n FROM ({members}) q"
        "  LEFT JOIN {tenants} r ON r.id = {owner} GROUP BY {column}) m ON m.who = {key}"
    ).format(
        people=table_sql(name), column=sql.Identifier(rule.column), members=members, tenants=tenants,
        owner=OWNER, key=sql.Identifier("t", rule.key),
    )  # fmt: skip
    return TableOwners(name, *_numbers(conn, query))


def _numbers(conn: Connection, query: sql.Composed) -> list[int]:
    row = conn.execute(query).fetchone()
    assert row is not None, "an aggregate gives a row"
    return [int(str(value)) for value in row]


def _unique(tables: Tables, hop: Hop) -> bool:
    """Whether at most one parent can fit, as far as its primary key says."""
    if hop.parent is None:
        return True
    key = tables[hop.parent].primary_key
    return bool(key) and set(key) <= set(hop.parent_columns)


def _judge(subject: str, numbers: TableOwners) -> Iterator[Finding]:
    name = numbers.table
    if numbers.rows != numbers.owned + numbers.orphans:
        yield refuse(
            subject, "map.difference",
            f"{name} has {numbers.rows} rows, of which {numbers.owned} are owned and {numbers.orphans} orphans",
            "rows were changed while they were counted; run it again",
        )  # fmt: skip
    if numbers.disputed:
        yield refuse(
            subject, "map.disputed",
            f"{numbers.disputed} rows of {name} belong to one tenant by the first way and to another by the next",
            "correct the rows, or the order of ways in ownership.yaml",
        )  # fmt: skip
    if numbers.ownerless:
        yield warn(
            subject, "map.ownerless",
            f"{numbers.ownerless} of {numbers.rows} rows of {name} lead to no tenant; they stay behind in a move",
            "give the rule another way (first_of), or clean the rows up",
        )  # fmt: skip
    if numbers.dangling:
        yield warn(
            subject, "map.dangling",
            f"{numbers.dangling} of {numbers.rows} rows of {name} belong to tenants that do not exist",
            "clean them up: no operation on a tenant will find them",
        )  # fmt: skip
    if not (numbers.orphans or numbers.disputed):
        yield fine(subject, "map.owned", f"every one of {numbers.rows} rows of {name} has one owner")


def _stray_schemas(subject: str, conn: Connection, map_: OwnershipMap, tables: Tables) -> Iterator[Finding]:
    """Schemas that fit the template although the root has no such tenant."""
    if map_.schema_template is None or map_.root is None:
        return
    query = sql.SQL("SELECT {}::text FROM {}").format(
        sql.Identifier(_root_column(map_) or ""), table_sql(map_.root)
    )
    mine = {map_.schema_template.replace("{tenant}", str(row[0])) for row in conn.execute(query)}
    before, _, after = map_.schema_template.partition("{tenant}")
    schemas = {name.schema for name in tables}
    for schema in sorted(schemas - mine):
        if schema.startswith(before) and schema.endswith(after) and len(schema) > len(before + after):
            yield warn(
                subject, "map.stray-schema", f"schema {schema} belongs to no tenant of {map_.root}",
                "drop it, or add its tenant",
            )  # fmt: skip
