"""Which sets a tenant has in a database, in which shape, and what of it a backup cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenant_lifecycle.errors import StoreRejected, UnmappedData
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.largeobjects import names_objects
from tenant_lifecycle.stores.postgres.tables import Table


def shape_of(table: Table, set_name: str | None = None) -> Shape:
    """The columns that are written; generated ones follow from them, and the change log does not carry them."""
    return Shape(
        set_name or str(table.name),
        tuple(Column(one.name, one.type, nullable=not one.not_null) for one in table.copied_columns),
        table.key,
    )


def shapes_of(resolved: ResolvedMap, tables: Mapping[TableName, Table]) -> dict[str, Shape]:
    """By set, parents before children."""
    return {str(name): shape_of(tables[name]) for name in resolved.moved}


def refuse_unmapped(store: str, resolved: ResolvedMap) -> None:
    """Closed world: what no rule mentions would be forgotten.

    Raises:
        UnmappedData: names the tables.
    """
    if resolved.unmapped:
        names = ", ".join(str(name) for name in sorted(resolved.unmapped))
        raise UnmappedData(
            f"{store}: no rule of the ownership map mentions {names}",
            next_step="add a rule for each table; tenantctl map discover proposes them",
        )


def refuse_uncoverable(store: str, resolved: ResolvedMap, tables: Mapping[TableName, Table]) -> None:
    """What a row cannot be restored from exactly.

    Raises:
        StoreRejected: names every table and column, and why.
    """
    reasons = uncoverable(resolved, tables)
    if reasons:
        raise StoreRejected(
            f"{store} cannot be backed up: {'; '.join(f'{name} {why}' for name, why in reasons.items())}",
            store=store,
            next_step="change those tables, or declare them global if nobody needs them back",
        )


def uncoverable(resolved: ResolvedMap, tables: Mapping[TableName, Table]) -> dict[str, str]:
    """Sets whose rows a base and the log do not hold, and why. Empty is good."""
    reasons = {name: "; ".join(_reasons(tables[name])) for name in resolved.moved}
    return {str(name): why for name, why in reasons.items() if why}


def _reasons(table: Table) -> Iterator[str]:
    if table.persistence == "u":
        yield "is unlogged: its changes are in no log"
    objects = [column.name for column in table.columns if names_objects(column)]
    if objects:
        yield f"names large objects in {', '.join(objects)}: they are not rows"
    generated = {column.name for column in table.columns if column.generated}
    if generated & set(table.key):
        yield f"has a computed column in its key: {', '.join(sorted(generated & set(table.key)))}"


def differences(backup: Shape, live: Shape) -> list[str]:
    """How the live table's columns and key are others than the backup's, one clause each; order is nothing. Pure."""
    there = {column.name: column for column in live.columns}
    here = {column.name: column for column in backup.columns}
    said = [f"lacks column {name} ({here[name].type})" for name in here.keys() - there.keys()]
    said += [
        f"has column {name} ({there[name].type}), which the backup has not"
        for name in there.keys() - here.keys()
    ]
    for name in here.keys() & there.keys():
        if here[name].type != there[name].type:
            said.append(f"has column {name} as {there[name].type}, the backup as {here[name].type}")
        elif here[name].nullable and not there[name].nullable:
            said.append(f"has column {name} NOT NULL, the backup allows NULL")
    if backup.key != live.key:
        said.append(f"has the key ({', '.join(live.key)}), the backup ({', '.join(backup.key)})")
    return sorted(said)
