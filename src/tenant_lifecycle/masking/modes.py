"""Which parts of a tenant a clone has, and what stands where one is left out but a value is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.masking.classes import DataType
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.model.backup.shape import Column
from tenant_lifecycle.model.findings import Finding, Severity


class Mode(StrEnum):
    """Clones by name."""

    FULL = "full"
    METADATA_AND_CONFIGS = "metadata+configs"
    CONFIG_ONLY = "config-only"
    SCHEMA_ONLY = "schema-only"


_TYPES = {
    Mode.FULL: frozenset(DataType),
    Mode.METADATA_AND_CONFIGS: frozenset({DataType.METADATA, DataType.CONFIGS}),
    Mode.CONFIG_ONLY: frozenset({DataType.CONFIGS}),
    Mode.SCHEMA_ONLY: frozenset[DataType](),
}


def data_types(mode: Mode = Mode.FULL, only: Collection[str] = ()) -> frozenset[DataType]:
    """What a mode has, or these data types and nothing else.

    Raises:
        UsageError: there is no such data type.
    """
    if not only:
        return _TYPES[mode]
    if unknown := sorted(set(only) - set(DataType)):
        raise UsageError(
            f"{unknown[0]!r} is no data type; there are {', '.join(DataType)}",
            next_step="tenantctl clone plan --help",
        )
    return frozenset(DataType(one) for one in only)


def open_references(registry: Registry, types: Collection[DataType]) -> Iterator[Finding]:
    """Sets that would come without what they refer to."""
    for store, sets in registry.stores.items():
        for name, rules in sets.items():
            for column, target in rules.references.items():
                parent = sets.get(target.rpartition(".")[0])
                if rules.data in types and parent is not None and parent.data not in types:
                    yield Finding(
                        "masking.open-reference", Severity.REFUSAL,
                        f"{store} {name}.{column} refers to {target}, which is {parent.data} and left out",
                        f"add {parent.data}, or give {name} the data type {parent.data} in the masking registry",
                    )  # fmt: skip


def left_empty(column: Column) -> str | None:
    """What stands in a column that is left out: nothing if it may, else the emptiest value of its type."""
    if column.nullable:
        return None
    base = column.type.split("(")[0]
    if base.endswith("[]"):
        return "{}"
    return _EMPTY.get(base, "")


_EMPTY = {
    "json": "{}", "jsonb": "{}", "bytea": "\\x", "integer": "0", "bigint": "0", "smallint": "0", "numeric": "0",
    "double precision": "0", "real": "0", "boolean": "f", "uuid": "00000000-0000-0000-0000-000000000000",
    "timestamp with time zone": "1970-01-01 00:00:00+00", "date": "1970-01-01",
}  # fmt: skip
