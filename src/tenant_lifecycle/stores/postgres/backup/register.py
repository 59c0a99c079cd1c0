"""What is known of previews: rows in our schema, so that any driver finds them again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tenant_lifecycle.errors import UsageError, WrongState
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.stores.postgres.connection import Connection

_NAME = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True, slots=True)
class PreviewSet:
    """One set of a preview."""

    shape: Shape
    #: Where it is live, or would be.
    live: TableName
    #: Where it is in the preview.
    table: TableName
    #: How many rows it was loaded with; None before that.
    rows: int | None = None

    @property
    def set(self) -> str:
        return self.shape.set


@dataclass(frozen=True, slots=True)
class Registered:
    """A preview as it stands in the register."""

    name: str
    tenant: TenantId
    facts: Mapping[str, Any]
    #: By set, in the order of the base.
    sets: Mapping[str, PreviewSet]
    #: Digest of the shapes it was made in.
    made_as: str


def schema_name(name: str) -> str:
    """The schema of the preview of that name.

    Raises:
        UsageError: it is not a name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a preview", next_step="1 to 40 characters of a-z, 0-9 and _"
        )
    return f"tl_preview_{name}"


def place_sets(name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]) -> dict[str, PreviewSet]:
    """Where each set goes: to a table called as its own, with a number behind it where that is taken. Pure."""
    taken: set[str] = set()
    placed: dict[str, PreviewSet] = {}
    for set_name, shape in shapes.items():
        schema, table = facts.get("tables", {}).get(set_name) or set_name.split(".", 1)
        relation = table
        while relation in taken:
            relation = f"{table[:50]}__{len(taken)}"
        taken.add(relation)
        placed[set_name] = PreviewSet(shape, TableName(schema, table), TableName(schema_name(name), relation))
    return placed


def digest_of(shapes: Iterable[Shape]) -> str:
    """SHA-256 in hex; equal for the same sets in the same shapes only."""
    return hashlib.sha256("".join(sorted(shape.digest() for shape in shapes)).encode()).hexdigest()


def add(conn: Connection, preview: Registered) -> None:
    """Enter a preview with its sets."""
    conn.execute(
        "INSERT INTO tenant_lifecycle.preview (name, tenant, facts, made_as) VALUES (%s, %s, %s, %s)",
        (preview.name, preview.tenant, json.dumps(dict(preview.facts)), preview.made_as),
    )
    replace_sets(conn, preview.name, preview.sets)


def replace_sets(conn: Connection, name: str, sets: Mapping[str, PreviewSet]) -> None:
    """Say anew which sets a preview has."""
    conn.execute("DELETE FROM tenant_lifecycle.preview_set WHERE name = %s", (name,))
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO tenant_lifecycle.preview_set "
            "(name, set_name, number, schema_name, table_name, relation, shape, rows) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    name, one.set, number, one.live.schema, one.live.name, one.table.name,
                    json.dumps(asdict(one.shape)), one.rows,
                )
                for number, one in enumerate(sets.values())
            ],
        )  # fmt: skip


def remove(conn: Connection, name: str) -> None:
    """Forget a preview."""
    conn.execute("DELETE FROM tenant_lifecycle.preview_set WHERE name = %s", (name,))
    conn.execute("DELETE FROM tenant_lifecycle.preview WHERE name = %s", (name,))


def set_loaded(conn: Connection, name: str, set_name: str, rows: int) -> None:
    """Remember that a set is complete."""
    conn.execute(
        "UPDATE tenant_lifecycle.preview_set SET rows = %s WHERE name = %s AND set_name = %s",
        (rows, name, set_name),
    )


def find(conn: Connection, name: str) -> Registered | None:
    """The preview of that name; None if there is none."""
    if not is_there(conn):
        return None
    row = conn.execute(
        "SELECT tenant, facts, made_as FROM tenant_lifecycle.preview WHERE name = %s", (name,)
    ).fetchone()
    if row is None:
        return None
    rows = conn.execute(
        "SELECT schema_name, table_name, relation, shape, rows FROM tenant_lifecycle.preview_set "
        "WHERE name = %s ORDER BY number",
        (name,),
    ).fetchall()
    sets = [_set(name, *row) for row in rows]
    facts: Any = row[1]
    return Registered(name, TenantId(str(row[0])), facts, {one.set: one for one in sets}, str(row[2]))


def get(conn: Connection, store: str, name: str) -> Registered:
    """The preview of that name.

    Raises:
        WrongState: it was discarded.
    """
    found = find(conn, name)
    if found is None:
        raise WrongState(f"{store} has no preview {name}", next_step="start the restore again")
    return found


def names(conn: Connection) -> list[str]:
    """Of all previews."""
    if not is_there(conn):
        return []
    rows = conn.execute("SELECT name FROM tenant_lifecycle.preview ORDER BY name")
    return [str(name) for (name,) in rows]


def is_there(conn: Connection) -> bool:
    """Whether this database has a register at all."""
    return conn.execute("SELECT to_regclass('tenant_lifecycle.preview')").fetchone() != (None,)


def _set(name: str, schema: Any, table: Any, relation: Any, shape: Any, rows: Any) -> PreviewSet:
    read = Shape(shape["set"], tuple(Column(**column) for column in shape["columns"]), tuple(shape["key"]))
    return PreviewSet(read, TableName(schema, table), TableName(schema_name(name), relation), rows)
