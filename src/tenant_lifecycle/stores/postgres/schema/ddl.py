"""Definitions as statements: identifiers quoted by the driver, everything else in the server's own words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql

from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.schema.described import (
    ColumnShape,
    ConstraintShape,
    ExtensionShape,
    Grant,
    NamespaceShape,
    Policy,
    Relation,
    SequenceShape,
    TypeShape,
)


def extension(shape: ExtensionShape) -> list[sql.Composed]:
    """The extension in the source's schema, in the version that the server has ready."""
    return [
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(shape.schema)),
        sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(
            sql.Identifier(shape.name), sql.Identifier(shape.schema)
        ),
    ]


def namespace(shape: NamespaceShape, roles: frozenset[str]) -> list[sql.Composed]:
    """A schema with its grants to roles that exist."""
    name = sql.Identifier(shape.name)
    return [
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name),
        *grants(shape.grants, sql.SQL("SCHEMA {}").format(name), roles),
    ]


def type_(shape: TypeShape) -> sql.Composed:
    """An enum, domain, composite or simple range type."""
    name = table_sql(shape.name)
    if shape.kind == "e":
        labels = sql.SQL(", ").join([sql.Literal(label) for label in shape.labels])
        return sql.SQL("CREATE TYPE {} AS ENUM ({})").format(name, labels)
    if shape.kind == "d":
        checks = [
            sql.SQL(" CONSTRAINT {} {}").format(sql.Identifier(check), sql.SQL(definition))
            for check, definition in shape.checks
        ]
        return sql.SQL("CREATE DOMAIN {} AS {}{}").format(name, sql.SQL(shape.body), sql.Composed(checks))
    keyword = sql.SQL("RANGE " if shape.kind == "r" else "")
    return sql.SQL("CREATE TYPE {} AS {}({})").format(name, keyword, sql.SQL(shape.body))


def sequence(shape: SequenceShape, roles: frozenset[str]) -> list[sql.Composed]:
    """A sequence at its start; its number is carried over by others."""
    name = table_sql(shape.name)
    return [
        sql.SQL("CREATE SEQUENCE IF NOT EXISTS {} {}").format(name, sql.SQL(shape.options)),
        *grants(shape.grants, sql.SQL("SEQUENCE {}").format(name), roles),
    ]


def owned_by(shape: SequenceShape) -> sql.Composed:
    """Bind a sequence to its column."""
    assert shape.owned_by is not None, "only sequences that have an owner"
    table, column = shape.owned_by
    return sql.SQL("ALTER SEQUENCE {} OWNED BY {}").format(
        table_sql(shape.name), sql.Identifier(table.schema, table.name, column)
    )


def table(shape: Relation) -> sql.Composed:
    """A table without its rules; a partition takes its columns from its parent, which must be there."""
    head = sql.SQL("CREATE TABLE {}").format(table_sql(shape.name))
    if shape.parent is not None:
        body = sql.SQL(" PARTITION OF {} {}").format(table_sql(shape.parent), sql.SQL(shape.bound or ""))
    else:
        body = sql.SQL(" ({})").format(sql.SQL(", ").join([_column(column) for column in shape.columns]))
    by = sql.SQL(f" PARTITION BY {shape.partition_key}" if shape.partition_key else "")
    options = sql.SQL(f" WITH ({', '.join(shape.options)})" if shape.options else "")
    return sql.Composed([head, body, by, options])


def _column(shape: ColumnShape) -> sql.Composed:
    parts: list[sql.Composable] = [sql.Identifier(shape.name), sql.SQL(shape.type)]
    if shape.collation is not None:
        parts.append(sql.SQL(f"COLLATE {shape.collation}"))
    if shape.generated:
        kind = "STORED" if shape.generated == "s" else "VIRTUAL"
        parts.append(sql.SQL(f"GENERATED ALWAYS AS ({shape.expression}) {kind}"))
    elif shape.identity:
        when = "ALWAYS" if shape.identity == "a" else "BY DEFAULT"
        parts.append(sql.SQL(f"GENERATED {when} AS IDENTITY ({shape.identity_options})"))
    elif shape.expression is not None:
        parts.append(sql.SQL(f"DEFAULT {shape.expression}"))
    if shape.not_null:
        parts.append(sql.SQL("NOT NULL"))
    return sql.SQL(" ").join(parts)


def constraint(shape: Relation, rule: ConstraintShape) -> sql.Composed:
    """Any constraint of a table that is there."""
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
        table_sql(shape.name), sql.Identifier(rule.name), sql.SQL(rule.definition)
    )


def replica_identity(shape: Relation) -> Iterator[sql.Composed]:
    """What the change stream says of deleted rows; without it the way back could not be followed."""
    how: sql.Composable
    if shape.replica_identity == "f":
        how = sql.SQL("FULL")
    elif shape.replica_identity == "i" and shape.identity_index is not None:
        how = sql.SQL("USING INDEX {}").format(sql.Identifier(shape.identity_index))
    else:
        return
    yield sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(table_sql(shape.name), how)


def row_security(shape: Relation, roles: frozenset[str]) -> Iterator[sql.Composed]:
    """Row security and its policies; a policy for roles that do not exist is left out, which shows less."""
    name = table_sql(shape.name)
    if shape.row_security:
        yield sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(name)
    if shape.force_row_security:
        yield sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(name)
    for one in shape.policies:
        if all(role == "public" or role in roles for role in one.roles):
            yield policy(shape, one)


def policy(shape: Relation, one: Policy) -> sql.Composed:
    """One policy."""
    named = [sql.SQL("PUBLIC") if role == "public" else sql.Identifier(role) for role in one.roles]
    return sql.SQL("CREATE POLICY {} ON {} AS {} FOR {} TO {}{}{}").format(
        sql.Identifier(one.name),
        table_sql(shape.name),
        sql.SQL("PERMISSIVE" if one.permissive else "RESTRICTIVE"),
        sql.SQL(one.command),
        sql.SQL(", ").join(named),
        sql.SQL(f" USING ({one.using})" if one.using is not None else ""),
        sql.SQL(f" WITH CHECK ({one.check})" if one.check is not None else ""),
    )


def grants(some: Iterable[Grant], on: sql.Composable, roles: frozenset[str]) -> list[sql.Composed]:
    """Grants to everybody and to roles that exist."""
    return [
        sql.SQL("GRANT {} ON {} TO {}{}").format(
            sql.SQL(grant.privilege),
            on,
            sql.SQL("PUBLIC") if grant.role is None else sql.Identifier(grant.role),
            sql.SQL(" WITH GRANT OPTION" if grant.grantable else ""),
        )
        for grant in some
        if grant.role is None or grant.role in roles
    ]


def table_grants(shape: Relation, roles: frozenset[str]) -> list[sql.Composed]:
    """Grants on a table."""
    return grants(shape.grants, table_sql(shape.name), roles)
