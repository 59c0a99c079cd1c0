"""How a row becomes a fingerprint that is the same on every server, and differs when any bit of it does.

A row is turned into bytes with ``record_send`` over its columns, and the bytes are hashed as a whole, twice,
with different seeds. Hashing the bytes and not the record is deliberate: ``hash_record_extended`` of a record
is a linear combination of its columns' hashes, so that a *sum* of it over rows does not change when two rows
swap their values, and it calls 1.0 and 1.00, or 0.0 and -0.0, the same.

Only types whose binary form is proven equal on PostgreSQL 15 to 18 are sent as they are (`EXACT`). Every
other type goes through its text form: the binary forms of enums in arrays, of composites and of extensions'
types carry object ids that differ between databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.rawsql import fetch
from tenant_lifecycle.stores.postgres.tables import Table

#: Built-in types whose binary form is exact and the same from 15 to 18; the tests try each of them.
EXACT = frozenset({
    "bool", "bytea", "char", "name", "int8", "int2", "int4", "text", "oid", "json", "point", "lseg",
    "path", "box", "polygon", "line", "circle", "float4", "float8", "money", "macaddr", "macaddr8",
    "inet", "cidr", "bpchar", "varchar", "date", "time", "timestamp", "timestamptz", "interval",
    "timetz", "bit", "varbit", "numeric", "uuid", "jsonb", "pg_lsn", "int4range", "int8range",
    "numrange", "tsrange", "tstzrange", "daterange",
})  # fmt: skip
#: Types whose order is the same on every server; all others are ordered by their text, COLLATE "C".
ORDERED = frozenset({
    "int2", "int4", "int8", "oid", "uuid", "date", "timestamp", "timestamptz", "numeric", "bool", "bytea",
})  # fmt: skip
#: Types of pgvector: their send functions are exact and much cheaper than their text.
_VECTORS = frozenset({"vector", "halfvec", "sparsevec"})

_FORMS = """
WITH RECURSIVE base(start, oid, typtype, typbasetype) AS (
    SELECT ty.oid, ty.oid, ty.typtype, ty.typbasetype FROM pg_type ty
     WHERE ty.oid IN (SELECT atttypid FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0)
    UNION ALL
    SELECT base.start, ty.oid, ty.typtype, ty.typbasetype FROM base JOIN pg_type ty ON ty.oid = base.typbasetype
     WHERE base.typtype = 'd')
SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, -1), format_type(ty.oid, -1),
       base.start <> base.oid, ty.typname::text, tn.nspname::text, fn.nspname::text, f.proname::text,
       a.atttypid::int8, (SELECT e.extname::text FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                     WHERE d.classid = 'pg_type'::regclass AND d.objid = ty.oid AND d.deptype = 'e')
  FROM pg_attribute a JOIN base ON base.start = a.atttypid AND base.typtype <> 'd'
  JOIN pg_type ty ON ty.oid = base.oid JOIN pg_namespace tn ON tn.oid = ty.typnamespace
  LEFT JOIN pg_proc f ON f.oid = ty.typsend LEFT JOIN pg_namespace fn ON fn.oid = f.pronamespace
 WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class Form:
    """How one column is turned into bytes, ordered, and passed as a key, on one server."""

    name: str
    #: The column's type without length, as SQL: safe to paste, for the server quoted it.
    type: str
    type_oid: int
    #: The type under all domains.
    base: str
    domain: bool
    #: Name of the base type if it is built in, else ''.
    builtin: str
    #: Schema and name of the send function of a pgvector type.
    send: tuple[str, str] | None

    @property
    def exact(self) -> bool:
        """Whether the binary form may travel between servers as it is."""
        return self.builtin in EXACT

    def value(self, alias: str) -> sql.Composable:
        """The expression over the row ``alias`` that goes into the fingerprint."""
        column = self._plain(alias)
        if self.exact:
            return column
        if self.send is not None:
            return sql.SQL("{}({})").format(sql.Identifier(*self.send), column)
        return sql.SQL("CAST({} AS text)").format(column)

    def order(self, alias: str) -> sql.Composable:
        """The expression over the row ``alias`` to order and cut by: the same order on every server."""
        if self.builtin in ORDERED:
            return self._plain(alias)
        if self.builtin in ("text", "varchar"):
            return sql.SQL('{} COLLATE "C"').format(self._plain(alias))
        return sql.SQL('CAST({} AS text) COLLATE "C"').format(self._plain(alias))

    def bound(self, text: str) -> sql.Composable:
        """A value of `order`, back from its text."""
        if self.builtin in ORDERED:
            return sql.SQL("CAST({} AS {})").format(sql.Literal(text), sql.SQL(self.base))
        return sql.SQL('CAST({} AS text) COLLATE "C"').format(sql.Literal(text))

    def _plain(self, alias: str) -> sql.Composable:
        column = sql.Identifier(alias, self.name)
        return sql.SQL("CAST({} AS {})").format(column, sql.SQL(self.base)) if self.domain else column


def read_forms(conn: Connection, tables: Iterable[Table]) -> dict[int, Mapping[str, Form]]:
    """The forms of all columns of ``tables``, by the tables' oids."""
    rows = fetch(conn, _FORMS, [[table.oid for table in tables]])
    forms: dict[int, dict[str, Form]] = {}
    for (
        table,
        name,
        type_,
        base,
        domain,
        base_name,
        schema,
        send_schema,
        send_name,
        type_oid,
        extension,
    ) in rows:
        vector = extension == "vector" and base_name in _VECTORS
        forms.setdefault(table, {})[name] = Form(
            name=name,
            type=type_,
            type_oid=type_oid,
            base=base,
            domain=domain,
            builtin=base_name if schema == "pg_catalog" else "",
            send=(send_schema, send_name) if vector else None,
        )
    return dict(forms)


def row_bytes(forms: Iterable[Form], alias: str) -> sql.Composable:
    """The bytes of a row over these columns."""
    values = sql.SQL(", ").join([form.value(alias) for form in forms])
    return sql.SQL("record_send(ROW({}))").format(values)


def hash_of(data: sql.Composable, seed: int) -> sql.Composable:
    """64 bits over a bytea; two seeds give two independent hashes."""
    return sql.SQL("hash_record_extended(ROW({}), {})").format(data, sql.Literal(seed))
