"""Which sets of a manifest cannot stay when another one goes: what rows refer to, are found by, and lie in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import ResolvedMap, Shared, Via
from tenant_lifecycle.stores.postgres import erasable
from tenant_lifecycle.stores.postgres.connection import translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.doomed import own_schema
from tenant_lifecycle.stores.postgres.largeobjects import names_objects
from tenant_lifecycle.stores.postgres.references import Reference, read_references
from tenant_lifecycle.stores.postgres.tables import Table, read_tables


def bound(database: Database, tenant: TenantId) -> Mapping[str, frozenset[str]]:
    """See `stores.erasing.Binds`; of declared keys, of the map's own paths, and of large objects."""
    with database.session() as conn, translating(database.name):
        tables = read_tables(conn)
        resolved = database.map.resolve(tenant, frozenset(tables))
        references = read_references(conn, {name: tables[name] for name in resolved.moved if name in tables})
        schema = own_schema(conn, database, resolved)
    mine = frozenset(resolved.moved)
    found: dict[str, frozenset[str]] = {erasable.LARGE_OBJECTS: frozenset()}
    if schema is not None:
        found[erasable.set_of_schema(schema)] = frozenset()
    for name in sorted(mine, key=str):
        needed = set(_tables(resolved, name, references.get(name, []))) & mine - {name}
        sets = {erasable.set_of(one) for one in needed} | set(_others(tables[name], schema))
        found[erasable.set_of(name)] = frozenset(sets)
    return found


def _tables(resolved: ResolvedMap, name: TableName, references: list[Reference]) -> Iterator[TableName]:
    yield from (reference.parent for reference in references)
    match resolved.owned.get(name) or resolved.shared.get(name):
        case Via(hops):
            yield from (hop.parent for hop in hops if hop.parent is not None)
        case Shared(through):
            yield through


def _others(table: Table, schema: str | None) -> Iterator[str]:
    if any(names_objects(column) for column in table.columns):
        yield erasable.LARGE_OBJECTS
    if schema is not None and table.name.schema == schema:
        yield erasable.set_of_schema(schema)
