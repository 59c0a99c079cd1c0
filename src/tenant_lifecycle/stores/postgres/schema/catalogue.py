"""Reading the shape of tables out of a live catalogue; the queries stand in ``read.sql``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from psycopg.rows import dict_row

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.schema.described import (
    ColumnShape,
    ConstraintShape,
    ExtensionShape,
    Grant,
    IndexShape,
    NamespaceShape,
    Needed,
    Policy,
    Relation,
    SchemaShape,
    SequenceShape,
    TypeShape,
)

Row = dict[str, Any]


def _queries() -> dict[str, bytes]:
    text = files(__package__).joinpath("read.sql").read_text("utf-8")
    parts = text.split("-- name: ")[1:]
    return {name: body.encode() for name, _, body in (part.partition("\n") for part in parts)}


_QUERIES = _queries()


def read_shape(conn: Connection, tables: Iterable[TableName], like: SchemaShape | None = None) -> SchemaShape:
    """Describe these tables with everything they need; names that are no table here are left out.

    With ``like``, its types, sequences and extensions are described as well, whether tables use them or not.
    """
    wanted = list(tables)
    names = {"schemas": [t.schema for t in wanted], "names": [t.name for t in wanted]}
    with conn.transaction():
        relations = _ask(conn, "relations", names)
        oids = {"oids": [row["oid"] for row in relations]}
        types = _ask(conn, "types", {**oids, **_named("type", like.types if like else ())})
        sequences = _ask(conn, "sequences", {**oids, **_named("sequence", like.sequences if like else ())})
        parts = _ask(conn, "dependencies", {**oids, "types": [row["oid"] for row in types]})
        grants = _by_oid(
            _ask(conn, "grants", {"oids": [row["oid"] for row in (*relations, *sequences)]}), _grant
        )
        schemas = {row["schema"] for row in (*relations, *types, *sequences)}
        return SchemaShape(
            relations=_relations(conn, relations, oids, grants),
            types={_name(row): _type(row) for row in types},
            sequences={_name(row): _sequence(row, grants[row["oid"]]) for row in sequences},
            extensions=_extensions(conn, parts, like),
            namespaces=_namespaces(_ask(conn, "namespaces", {"schemas": sorted(schemas)})),
            needed=tuple(
                Needed(row["kind"], tuple(row["names"]), tuple(row["arguments"]), row["identity"])
                for row in parts
                if row["extension"] is None
            ),
            views=tuple(row["name"] for row in _ask(conn, "views", oids)),
            functions=tuple(
                row["name"]
                for row in _ask(conn, "functions", {"schemas": sorted({t.schema for t in wanted})})
            ),
        )


def _named(what: str, names: Iterable[TableName]) -> dict[str, list[str]]:
    listed = list(names)
    return {f"{what}_schemas": [n.schema for n in listed], f"{what}_names": [n.name for n in listed]}


def _extensions(
    conn: Connection, parts: Iterable[Row], like: SchemaShape | None
) -> dict[str, ExtensionShape]:
    used = {row["extension"] for row in parts} | (like.extensions.keys() if like else set())
    rows = _ask(conn, "extensions", {})
    return {row["name"]: ExtensionShape(**row) for row in rows if row["name"] in used}


def _namespaces(rows: Iterable[Row]) -> dict[str, NamespaceShape]:
    grants: dict[str, list[Grant]] = {}
    for row in rows:
        own = grants.setdefault(row["name"], [])
        if row["privilege"] is not None:
            own.append(_grant(row))
    return {name: NamespaceShape(name, tuple(some)) for name, some in grants.items()}


def _ask(conn: Connection, name: str, parameters: dict[str, Any]) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_QUERIES[name], parameters).fetchall()


def _by_oid(rows: Iterable[Row], make: Any) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.pop("oid")].append(make(row))
    return found


def _relations(
    conn: Connection, rows: list[Row], oids: dict[str, Any], grants: defaultdict[int, list[Grant]]
) -> dict[TableName, Relation]:
    columns = _by_oid(_ask(conn, "columns", oids), _column)
    constraints = _by_oid(_ask(conn, "constraints", oids), _constraint)
    indexes = _by_oid(_ask(conn, "indexes", oids), _index)
    policies = _by_oid(_ask(conn, "policies", oids), _policy)
    triggers = _by_oid(_ask(conn, "triggers", oids), lambda row: (row["name"], row["enabled"]))
    return {
        _name(row): Relation(
            name=_name(row),
            root=TableName(row["root_schema"], row["root_name"]),
            parent=TableName(row["parent_schema"], row["parent_name"]) if row["parent_name"] else None,
            kind=row["kind"],
            partition_key=row["partition_key"],
            bound=row["bound"],
            columns=tuple(columns[row["oid"]]),
            constraints=tuple(constraints[row["oid"]]),
            indexes=tuple(indexes[row["oid"]]),
            policies=tuple(policies[row["oid"]]),
            row_security=row["row_security"],
            force_row_security=row["force_row_security"],
            replica_identity=row["replica_identity"],
            identity_index=row["identity_index"],
            owner=row["owner"],
            grants=tuple(grants[row["oid"]]),
            options=tuple(row["options"]),
            triggers=dict(triggers[row["oid"]]),
        )
        for row in rows
    }


def _name(row: Row) -> TableName:
    return TableName(row["schema"], row["name"])


def _column(row: Row) -> ColumnShape:
    return ColumnShape(**{**row, "identity_options": row["identity_options"] or ""})


def _constraint(row: Row) -> ConstraintShape:
    refers_to = TableName(row["refers_schema"], row["refers_name"]) if row["refers_name"] else None
    return ConstraintShape(row["name"], row["kind"], row["definition"], refers_to)


def _index(row: Row) -> IndexShape:
    # On a partitioned table the server prints ON ONLY, which would make an index without partitions.
    content = row["definition"].removeprefix(row["head"]).removeprefix(row["only"]).removeprefix(row["place"])
    return IndexShape(row["name"], f"{row['head']}{row['place']}{content}", content, row["is_unique"])


def _policy(row: Row) -> Policy:
    return Policy(**{**row, "roles": tuple(row["roles"])})


def _grant(row: Row) -> Grant:
    return Grant(row["role"], row["privilege"], row["grantable"])


def _type(row: Row) -> TypeShape:
    checks = tuple((name, definition) for name, definition in row["checks"])
    return TypeShape(_name(row), row["kind"], tuple(row["labels"]), row["body"] or "", checks)


def _sequence(row: Row, grants: list[Grant]) -> SequenceShape:
    owned_by = None
    if row["owner_name"] is not None:
        owned_by = (TableName(row["owner_schema"], row["owner_name"]), row["owner_column"])
    return SequenceShape(_name(row), row["options"], owned_by, tuple(grants))
