"""The verifier's eyes: everything that a role can see on a server, streamed to us and looked through here.

Shares nothing with the eraser: it goes by the server's catalogue and not by the ownership map, reads whole relations
and not the tenant's rows, and no identifier is in any question, so that looking leaves no trace of what was looked
for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import psycopg
from psycopg import conninfo

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.postgres import searchcatalogue
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.searchrows import Relation, search_objects, search_relation
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA


class _Kind(Enum):
    RELATION = "relation"
    OBJECTS = "large objects"
    CATALOGUE = "catalogue"
    SERVER = "server catalogue"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Where:
    """What a place is."""

    kind: _Kind
    database: str
    relation: Relation | None = None
    #: Why it cannot be looked into.
    closed: str = ""


_DATABASES = """
SELECT datname::text, datallowconn, has_database_privilege(oid, 'CONNECT') FROM pg_database ORDER BY 1
"""
_RELATIONS = """
SELECT n.nspname::text, c.relname::text, c.oid::int8, c.relkind::text, pg_table_size(c.oid)::int8,
       coalesce((SELECT json_agg(json_build_array(pn.nspname, pc.relname)) FROM pg_partition_ancestors(c.oid) a(relid)
                   JOIN pg_class pc ON pc.oid = a.relid JOIN pg_namespace pn ON pn.oid = pc.relnamespace), '[]')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
 ORDER BY 1, 2
"""


@dataclass
class Eyes:
    """One server, seen with the credentials of one store; remembers what its places are."""

    database: Database
    _known: dict[str, _Where] = field(default_factory=dict, repr=False)

    def places(self) -> list[Place]:
        """Every database, and in it every table, materialised view, foreign table, its large objects and its
        catalogue. A database that cannot be entered is a place as well: looking into it says why not."""
        found = list(self._all())
        self._known = {place.name: where for place, where in found}
        return [place for place, _ in found]

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        """Go through one place; what cannot be read is said and never counts as clean."""
        if place.name not in self._known:
            self.places()
        where = self._known.get(place.name)
        if where is None:
            return Looked(0, 0, unread=f"{place.name} is not there any more, or cannot be seen")
        if where.kind is _Kind.CLOSED:
            return Looked(0, 0, unread=where.closed)
        try:
            with self._connect(where.database) as conn:
                return self._look(conn, place, where, found, check)
        except psycopg.Error as exc:
            return Looked(0, 0, unread=f"{place.name}: {exc.diag.message_primary or type(exc).__name__}")

    def _look(self, conn: Connection, place: Place, where: _Where, found: Found, check: Check) -> Looked:
        match where.kind:
            case _Kind.OBJECTS:
                return search_objects(conn, place, found, check)
            case _Kind.CATALOGUE:
                return searchcatalogue.search(conn, place, searchcatalogue.OF_A_DATABASE, found, check)
            case _Kind.SERVER:
                return searchcatalogue.search(conn, place, searchcatalogue.OF_THE_SERVER, found, check)
        assert where.relation is not None
        return search_relation(conn, place, where.relation, found, check)

    def _all(self) -> Iterator[tuple[Place, _Where]]:
        with self._connect(None) as conn:
            (own,) = conn.execute("SELECT current_database()::text").fetchone() or ("",)
            databases = conn.execute(_DATABASES).fetchall()
        yield Place("server catalogue", True), _Where(_Kind.SERVER, str(own))
        for name, accepts, may in databases:
            if accepts:
                yield from self._database(str(name), own == name, bool(may))

    def _database(self, name: str, own: bool, may: bool) -> Iterator[tuple[Place, _Where]]:
        if not may:
            reason = f"this role may not connect to database {name}"
            yield Place(name, own), _Where(_Kind.CLOSED, name, closed=reason)
            return
        try:
            with self._connect(name) as conn:
                relations = conn.execute(_RELATIONS).fetchall()
                (objects,) = conn.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() or (0,)
        except (psycopg.Error, LifecycleError) as exc:
            yield Place(name, own), _Where(_Kind.CLOSED, name, closed=f"{name}: {type(exc).__name__}")
            return
        yield Place(f"{name} catalogue", own), _Where(_Kind.CATALOGUE, name)
        if objects:
            yield Place(f"{name} large objects", own, int(str(objects))), _Where(_Kind.OBJECTS, name)
        for schema, table, oid, kind, size, ancestors in relations:
            names = [TableName(str(schema), str(table)), *(TableName(*pair) for pair in _pairs(ancestors))]
            declared = own and (kind == "m" or any(self._declared(one) for one in names))
            relation = Relation(names[0], int(str(oid)), str(kind), declared)
            mapped = next((one for one in names if one in self.database.map.tables), names[0])
            of = str(mapped) if own and kind == "r" else ""
            yield (
                Place(f"{name}.{names[0]}", declared, int(str(size or 0)), of),
                _Where(_Kind.RELATION, name, relation),
            )

    def _declared(self, table: TableName) -> bool:
        """Whether the ownership map says something about it, whoever the tenant is."""
        map_ = self.database.map
        if table.schema == OUR_SCHEMA or table in map_.tables or map_.per_database:
            return True
        before, placeholder, after = (map_.schema_template or "").partition("{tenant}")
        return bool(placeholder) and table.schema.startswith(before) and table.schema.endswith(after)

    def _connect(self, name: str | None) -> Connection:
        """A session that can only read, in the database of that name."""
        dsn = self.database.dsn if name is None else conninfo.make_conninfo(self.database.dsn, dbname=name)
        there = Database(self.database.name, self.database.environment, dsn)
        conn = there.connect("search")
        conn.execute("SET default_transaction_read_only = on")
        return conn


def _pairs(value: object) -> list[tuple[str, str]]:
    assert isinstance(value, list)
    return [(str(schema), str(name)) for schema, name in value]
