"""A set of a preview and the live table it belongs to, as SQL: the rows of both side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused, UsageError, WrongState
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap, Shared, Via
from tenant_lifecycle.stores.postgres.backup.register import PreviewSet, Registered
from tenant_lifecycle.stores.postgres.backup.shapes import differences, shape_of
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.owned import columns_sql, no_other_tenants, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.owners import owners_of_row, rule_of
from tenant_lifecycle.stores.postgres.tables import Table


@dataclass(frozen=True, slots=True)
class Matched:
    """One set; rows of the preview are called ``p`` in its SQL, live ones ``l``."""

    preview: PreviewSet
    live: Table
    #: The live row is the tenant's.
    owned: sql.Composable
    #: The live row is no other tenant's; None where rows have one owner anyway.
    no_others: sql.Composable | None
    #: The live row is nobody's: what it hung on is gone.
    nobodys: sql.Composable
    #: Whose a row is, other rows say: it changes when those do.
    hangs: bool

    @property
    def set(self) -> str:
        return self.preview.set

    @property
    def shape(self) -> Shape:
        return self.preview.shape

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are written."""
        return tuple(column.name for column in self.shape.columns)

    @property
    def here(self) -> sql.Composed:
        return sql.SQL("{} p").format(table_sql(self.preview.table))

    @property
    def there(self) -> sql.Composed:
        return sql.SQL("{} l").format(table_sql(self.live.name))

    def same_key(self, one: str = "p", other: str = "l") -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
            for name in self.shape.key
        )

    def row(self, alias: str) -> sql.Composed:
        """The whole row, to be compared by its bytes (``*<>``), or as text."""
        return sql.SQL("ROW({})::record").format(columns_sql(self.names, alias))


def match(
    preview: Registered, resolved: ResolvedMap, tables: Mapping[TableName, Table]
) -> dict[str, Matched]:
    """Every set with its live table.

    Raises:
        PreconditionRefused: the live tables are others, or have other columns; says which.
    """
    findings = list(mismatches(preview, resolved, tables))
    if findings:
        raise PreconditionRefused(
            f"preview {preview.name} does not fit the live tables: {'; '.join(one.message for one in findings)}",
            findings=findings,
            next_step="migrate the preview, or restore a backup of this schema's version",
        )
    return {
        one.set: Matched(
            one,
            tables[one.live],
            owned_rows(resolved, one.live, "l"),
            no_other_tenants(resolved, one.live, "l") if one.live in resolved.shared else None,
            sql.SQL("NOT EXISTS ({})").format(owners_of_row(resolved, rule_of(resolved, one.live), "l")),
            isinstance(rule_of(resolved, one.live), Via | Shared),
        )
        for one in preview.sets.values()
    }


def mismatches(
    preview: Registered, resolved: ResolvedMap, tables: Mapping[TableName, Table]
) -> list[Finding]:
    """Every way in which a preview's sets are not the tenant's live tables. Pure."""
    said: list[str] = []
    moved = set(resolved.moved)
    for one in preview.sets.values():
        if one.live not in moved:
            said.append(f"table {one.live} of the backup is not here")
            continue
        live = shape_of(tables[one.live])
        said += [f"{one.live} {difference}" for difference in differences(one.shape, live)]
    backed_up = {one.live for one in preview.sets.values()}
    said += [f"table {name} is newer than the backup" for name in resolved.moved if name not in backed_up]
    return [Finding("pg.column-mismatch", Severity.REFUSAL, text) for text in said]


def refuse_unloaded(conn: Connection, preview: Registered, sets: Sequence[str]) -> None:
    """A set that is not (any more) what was loaded would empty the live one.

    Raises:
        WrongState: names the set.
    """
    for name in sets:
        one = preview.sets[name]
        (rows,) = conn.execute(
            sql.SQL("SELECT count(*) FROM {}").format(table_sql(one.table))
        ).fetchone() or (None,)
        if one.rows is None or rows != one.rows:
            raise WrongState(
                f"preview {preview.name}: {name} has {rows} rows, "
                + (f"{one.rows} were loaded" if one.rows is not None else "and was never loaded whole"),
                next_step="load the set again; after a crash of the server a preview is empty",
            )


def chosen(preview: Registered, sets: Sequence[str] | None) -> list[str]:
    """The sets asked for, in the preview's order.

    Raises:
        UsageError: there is none of that name.
    """
    if sets is None:
        return list(preview.sets)
    if unknown := [name for name in sets if name not in preview.sets]:
        raise UsageError(
            f"preview {preview.name} has no set {unknown[0]}",
            next_step=f"it has {', '.join(preview.sets)}",
        )
    return [name for name in preview.sets if name in sets]
