"""The shape of a tenant's tables in one database, as values; definitions are the server's own SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_lifecycle.model.names import TableName


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """One column. Texts are SQL as the server prints it with ``search_path = pg_catalog``."""

    name: str
    type: str
    not_null: bool
    #: Default, or the expression of a generated column.
    expression: str | None
    #: '' plain, 's' stored, 'v' virtual.
    generated: str
    #: '' none, 'a' always, 'd' by default.
    identity: str
    #: Options of the identity's sequence, ``START WITH 1 ...``.
    identity_options: str
    #: Quoted name, None if it is the type's own.
    collation: str | None


@dataclass(frozen=True, slots=True)
class ConstraintShape:
    """A constraint of the table itself, not one inherited from a partitioned parent."""

    name: str
    #: 'p' primary key, 'u' unique, 'x' exclusion, 'c' check, 'f' foreign key.
    kind: str
    definition: str
    #: For foreign keys.
    refers_to: TableName | None


@dataclass(frozen=True, slots=True)
class IndexShape:
    """An index that no constraint stands for and no partitioned parent brings along."""

    name: str
    #: Complete ``CREATE INDEX``, without ``ONLY``.
    definition: str
    #: What it indexes and how: the definition after the table's name.
    content: str
    unique: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """A row security policy."""

    name: str
    permissive: bool
    #: ALL, SELECT, INSERT, UPDATE or DELETE.
    command: str
    #: Role names; ``public`` for everybody.
    roles: tuple[str, ...]
    using: str | None
    check: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on a relation or schema."""

    #: None is everybody.
    role: str | None
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """One table, partitioned root or partition."""

    name: TableName
    root: TableName
    #: The partitioned table that this is a partition of.
    parent: TableName | None
    #: 'r' ordinary, 'p' partitioned, 'f' foreign.
    kind: str
    #: ``RANGE (at)``; None if it is not partitioned.
    partition_key: str | None
    #: ``FOR VALUES FROM ...``; None for a root.
    bound: str | None
    columns: tuple[ColumnShape, ...]
    constraints: tuple[ConstraintShape, ...]
    indexes: tuple[IndexShape, ...]
    policies: tuple[Policy, ...]
    row_security: bool
    force_row_security: bool
    #: 'd', 'f', 'n' or 'i'.
    replica_identity: str
    identity_index: str | None
    owner: str
    grants: tuple[Grant, ...]
    #: Storage parameters, ``fillfactor=70``.
    options: tuple[str, ...]
    #: Triggers of the application: name -> enabled state ('O', 'D', 'R', 'A').
    triggers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TypeShape:
    """A type of the application's own that columns use."""

    #: Schema and name.
    name: TableName
    #: 'e' enum, 'd' domain, 'c' composite, 'r' range, 'b' base.
    kind: str
    #: Labels in their order.
    labels: tuple[str, ...]
    #: Domain: base type with collation, default, NOT NULL; composite: the attributes; range: its options.
    body: str
    #: Domain: check constraints, name and definition.
    checks: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SequenceShape:
    """A sequence that column defaults draw from; those of identity columns belong to the column."""

    name: TableName
    #: ``AS bigint START WITH 1 ...``
    options: str
    #: Table and column that own it.
    owned_by: tuple[TableName, str] | None
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class NamespaceShape:
    """A schema that tables, types or sequences lie in."""

    name: str
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class ExtensionShape:
    """An extension that something of the tables comes from."""

    name: str
    schema: str
    version: str


@dataclass(frozen=True, slots=True)
class Needed:
    """An object of the application's that definitions use and that is not created here (a function ...)."""

    #: As `pg_identify_object_as_address` says it.
    kind: str
    names: tuple[str, ...]
    arguments: tuple[str, ...]
    #: For people.
    identity: str


@dataclass(frozen=True, slots=True)
class SchemaShape:
    """Everything that decides whether the tenant's rows fit into a database."""

    #: Roots and partitions, parents before partitions.
    relations: Mapping[TableName, Relation]
    types: Mapping[TableName, TypeShape]
    sequences: Mapping[TableName, SequenceShape]
    extensions: Mapping[str, ExtensionShape]
    namespaces: Mapping[str, NamespaceShape]
    needed: tuple[Needed, ...]
    #: Views that read the tables, and functions of their schemas: names only.
    views: tuple[str, ...]
    functions: tuple[str, ...]

    @property
    def roots(self) -> tuple[Relation, ...]:
        """The tables themselves."""
        return tuple(relation for relation in self.relations.values() if relation.parent is None)

    def partitions(self, root: TableName) -> tuple[Relation, ...]:
        """All partitions of a root, of every level, parents first."""
        return tuple(r for r in self.relations.values() if r.root == root and r.parent is not None)
