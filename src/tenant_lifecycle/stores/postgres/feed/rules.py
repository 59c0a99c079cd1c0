"""Compiles the ownership map into what decides about a row of the stream, and reads the keys it starts with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from psycopg import sql

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Hop, ResolvedMap, Root, Rule, Shared, Via
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.feed.binary_copy import copy_out
from tenant_lifecycle.stores.postgres.feed.equality import Normal, alone, comparable, field_of
from tenant_lifecycle.stores.postgres.feed.keyset import IN_MEMORY, KeySet
from tenant_lifecycle.stores.postgres.feed.layout import Layout, key_count
from tenant_lifecycle.stores.postgres.feed.owner import Edge, Owner, Row, Test, everything, value_of
from tenant_lifecycle.stores.postgres.feed.pgoutput import split_row
from tenant_lifecycle.stores.postgres.owned import columns_sql, owned_rows, table_sql

#: A reference: child, parent, pairs of columns.
ForeignKey = tuple[TableName, TableName, frozenset[tuple[str, str]]]
#: One way to an owner: where its columns are, how they are compared, and with what.
Option = tuple[tuple[int, ...], tuple[Normal | None, ...], bytes | KeySet]


def build_owner(
    conn: Connection,
    store: str,
    layouts: Sequence[Layout],
    resolved: ResolvedMap,
    folder: Path,
    in_memory: int = IN_MEMORY,
) -> Owner:
    """Compile the rules of the tables; the key sets are still empty.

    Raises:
        StoreRejected: a rule compares columns whose bytes do not say whether they are equal.
    """
    owner = Owner(layouts, folder, in_memory)
    by_name = {layout.name: layout for layout in layouts}
    sets: dict[tuple[object, ...], KeySet] = {}
    foreign_keys = _foreign_keys(conn)
    for layout in layouts:
        if layout.unsendable and not layout.key:
            raise StoreRejected(
                f"{store}: {layout.name} has a column of a reg* type and no primary key: its rows can neither be "
                "sent nor found again",
                store=store,
                next_step=f"give {layout.name} a primary key",
            )
        rule: Rule = resolved.shared.get(layout.name) or resolved.owned[layout.name]
        options: list[Option] = []
        for hop in hops_of(rule):
            places = layout.places(hop.columns)
            if hop.parent is None:
                column = layout.columns[places[0]]
                normal = alone(store, layout.name, column)
                mine = field_of(conn, store, layout.name, column.name, resolved.tenant)
                options.append((places, (normal,), normal(mine) if normal else mine))
                continue
            edge = _edge(owner, store, layout, by_name[hop.parent], hop, foreign_keys, sets)
            if isinstance(rule, Shared):
                edge.ordered = False
            owner.down[edge.parent.number].append(edge)
            owner.up[layout.number].append(edge)
            options.append((places, edge.child_normal, edge.parents))
        owner.tests[layout.number] = _test(options) if options else everything
        owner.probes[layout.number] = 1 + max((p for places, _, _ in options for p in places), default=-1)
    return owner


def hops_of(rule: Rule) -> tuple[Hop, ...]:
    """A rule as ways to an owner, in order; empty if every row is the tenant's."""
    match rule:
        case Root(column) | Direct(column):
            return (Hop((column,)),)
        case Via(hops):
            return hops
        case Shared(through, column, key):
            return (Hop((key,), through, (column,)),)
    return ()


def _test(options: list[Option]) -> Test:
    """The first option whose columns are all NOT NULL decides. Simple rules get a function without a loop."""
    places, normal, known = options[0]
    if len(options) == 1 and len(places) == 1 and normal == (None,):
        place = places[0]
        if isinstance(known, bytes):
            return lambda row: row[place] == known
        return lambda row: known.has(row[place])  # type: ignore[arg-type]

    def over_options(row: Row) -> bool:
        for places, normal, known in options:
            value = value_of(row, places, normal)
            if value is not None:
                return known == value if isinstance(known, bytes) else known.has(value)
        return False

    return over_options


def _edge(
    owner: Owner,
    store: str,
    child: Layout,
    parent: Layout,
    hop: Hop,
    foreign_keys: set[ForeignKey],
    sets: dict[tuple[object, ...], KeySet],
) -> Edge:
    child_at, parent_at = child.places(hop.columns), parent.places(hop.parent_columns)
    pairs = [
        comparable(store, child.name, child.columns[c], parent.columns[p])
        for c, p in zip(child_at, parent_at, strict=True)
    ]
    child_normal, parent_normal = tuple(c for c, _ in pairs), tuple(p for _, p in pairs)
    ordered = (
        child.name,
        parent.name,
        frozenset(zip(hop.columns, hop.parent_columns, strict=True)),
    ) in foreign_keys
    if not parent.key:
        raise StoreRejected(
            f"{store}: {child.name} is owned through {parent.name}, which has no primary key, so a delete there "
            "does not say which row is gone",
            store=store,
            next_step=f"give {parent.name} a primary key",
        )
    if not child.key and not ordered:
        raise StoreRejected(
            f"{store}: {child.name} has no primary key and no foreign key to {parent.name}, so rows that were "
            "written before their parent could not be found again",
            store=store,
            next_step=f"give {child.name} a primary key, or a foreign key to {parent.name}",
        )
    same = hop.parent_columns == parent.key and not any(parent_normal)
    known = sets.setdefault(
        (parent.number, hop.parent_columns, parent_normal),
        KeySet(owner.file, same=same, in_memory=owner.in_memory),
    )
    return Edge(
        child,
        hop.columns,
        parent,
        hop.parent_columns,
        ordered,
        known,
        child_normal,
        parent_normal,
        child_at,
        parent_at,
    )


_FOREIGN_KEYS = """
SELECT cn.nspname, cc.relname, pn.nspname, pc.relname,
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(c.conkey) WITH ORDINALITY k(n, ord)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n),
       (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(c.confkey) WITH ORDINALITY k(n, ord)
          JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n)
  FROM pg_constraint c
  JOIN pg_class cc ON cc.oid = c.conrelid JOIN pg_namespace cn ON cn.oid = cc.relnamespace
  JOIN pg_class pc ON pc.oid = c.confrelid JOIN pg_namespace pn ON pn.oid = pc.relnamespace
 WHERE c.contype = 'f' AND NOT c.condeferrable AND c.convalidated
   AND coalesce(to_jsonb(c)->>'conenforced', 'true') = 'true'
"""


def _foreign_keys(conn: Connection) -> set[ForeignKey]:
    """Declared references that hold at every moment of every transaction: child, parent, pairs of columns."""
    found: set[ForeignKey] = set()
    for cs, c, ps, p, columns, referred in conn.execute(_FOREIGN_KEYS).fetchall():
        assert isinstance(columns, list) and isinstance(referred, list)
        found.add(
            (
                TableName(str(cs), str(c)),
                TableName(str(ps), str(p)),
                frozenset(zip(columns, referred, strict=True)),
            )
        )
    return found


def seed(conn: Connection, owner: Owner, resolved: ResolvedMap) -> None:
    """Read the keys of owned parents from the source; the slot must exist already, so that none is missed."""
    done: set[int] = set()
    for edges in owner.down:
        for edge in edges:
            if id(edge.parents) not in done:
                done.add(id(edge.parents))
                _seed_one(conn, edge, resolved)


def _seed_one(conn: Connection, edge: Edge, resolved: ResolvedMap) -> None:
    parent = edge.parent
    columns = (*parent.key, *edge.parent_columns)
    query = sql.SQL("COPY (SELECT {} FROM {} t WHERE {}) TO STDOUT (FORMAT BINARY)").format(
        columns_sql(columns, "t"), table_sql(parent.name), owned_rows(resolved, parent.name, "t")
    )
    count = key_count(parent)
    places = tuple(range(len(parent.key), len(columns)))
    for line in copy_out(conn, query):
        row = split_row(line[2:], len(columns))
        value = value_of(row, places, edge.parent_normal)
        if value is not None:
            edge.parents.add(count + b"".join(row[: len(parent.key)]), value)
