"""What is known of every place of a tenant's data: the registry that people review, and what it does not know.

Closed world: a column, a path, a family of keys without a rule stops the clone, and is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.masking.classes import DataClass, DataType, Guarantee, Rule
from tenant_lifecycle.masking.naming import NameForm
from tenant_lifecycle.masking.transformers import KINDS
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class SetRules:
    """One set: a table, a family of keys, the objects of a bucket."""

    data: DataType
    #: By column, or by the first step into an item's content.
    fields: Mapping[str, Rule]
    #: Forms of the key's parts (``key``, ``namespace``, ``id``) where items have names and not columns.
    names: Mapping[str, NameForm] = field(default_factory=dict)
    #: Columns that are unique together, beside the key.
    unique: tuple[tuple[str, ...], ...] = ()
    #: Column, and the ``set.column`` that it refers to, declared to the database or not.
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registry:
    """The rules of all stores."""

    stores: Mapping[str, Mapping[str, SetRules]]
    email_domain: str = "example.com"
    email_domain_owned: bool = False
    phone_regions: tuple[str, ...] = ()
    k: int = 5

    def rules(self, store: str, set_name: str) -> SetRules | None:
        """Of one set; of a table with and without the schema ``public``."""
        sets = self.stores.get(store, {})
        return sets.get(set_name) or sets.get(set_name.removeprefix("public."))

    def findings(self, store: str, shapes: Mapping[str, Shape]) -> list[Finding]:
        """Everything that forbids masking these sets, and what nobody can promise. Changes nothing."""
        return [finding for shape in shapes.values() for finding in self._of_set(store, shape)]

    def _of_set(self, store: str, shape: Shape) -> Iterator[Finding]:
        rules = self.rules(store, shape.set)
        where = f"{store} {shape.set}"
        if rules is None:
            yield _unknown(where)
            return
        if rules.names:
            return
        for column in shape.columns:
            if column.generated:
                continue
            rule = rules.fields.get(column.name)
            if rule is None:
                yield _unknown(f"{where}.{column.name}")
            elif unfit := _unfit(rule, column):
                yield _refusal(
                    "masking.unfit",
                    f"{where}.{column.name} ({column.type}): {unfit}",
                    next_step="choose another kind",
                )
        yield from _not_unique(where, shape, rules)
        gone = rules.fields.keys() - {column.name for column in shape.columns}
        for name in sorted(gone):
            yield _warning(
                "masking.gone", f"{where}.{name} has a rule and is not there", next_step="take the rule out"
            )


def _unknown(where: str) -> Finding:
    return _refusal(
        "masking.unclassified", f"{where} has no class, so nobody knows what may be copied of it",
        next_step="tenantctl clone plan proposes one; enter it in the masking registry",
    )  # fmt: skip


def _refusal(code: str, message: str, next_step: str) -> Finding:
    return Finding(code, Severity.REFUSAL, message, next_step)


def _warning(code: str, message: str, next_step: str) -> Finding:
    return Finding(code, Severity.WARNING, message, next_step)


def _not_unique(where: str, shape: Shape, rules: SetRules) -> Iterator[Finding]:
    for group in (shape.key, *rules.unique):
        for name in group:
            rule = rules.fields.get(name)
            guarantee = (
                KINDS[rule.kind].guarantee if rule and rule.cls is not DataClass.JSON else Guarantee.PRESERVED
            )
            if guarantee is Guarantee.PRESERVED or rule is None:
                continue
            together = f"{where} ({', '.join(group)}) is unique, and {rule.kind} on {name} "
            if guarantee is Guarantee.LOSSY:
                yield _refusal(
                    "masking.lossy-unique",
                    together + "makes different values equal",
                    next_step="choose a kind that keeps values apart",
                )
            else:
                yield _warning(
                    "masking.maybe-unique",
                    together + "may make two values equal; the gate counts them",
                    next_step="nothing to do if the gate passes",
                )


def _unfit(rule: Rule, column: Column) -> str:
    """Why the kind cannot be used for the type, "" if it can."""
    base = column.type.removesuffix("[]").split("(")[0]
    if rule.kind == "uuid" and base not in ("uuid", *_TEXTS):
        return "ids of this type are no UUIDs"
    if rule.kind == "integer" and base not in (*INTEGER_BITS, *_TEXTS):
        return "ids of this type are no whole numbers"
    if rule.kind == "null" and not column.nullable:
        return "nothing may not stand here"
    if rule.cls is DataClass.JSON and base not in ("json", "jsonb", *_TEXTS):
        return "this type holds no JSON"
    if rule.kind in _TEXT_ONLY and base in _NO_TEXT:
        return f"{rule.kind} gives text"
    return ""


#: By type, the bits of its numbers.
INTEGER_BITS: Mapping[str, int] = {"smallint": 16, "integer": 32, "bigint": 64}
_TEXTS = ("text", "character varying", "varchar", "character", "citext", "bytes")
_NO_TEXT = frozenset({"uuid", "boolean", "date", "numeric", "timestamp with time zone", *INTEGER_BITS})
_TEXT_ONLY = frozenset({"name", "first_name", "last_name", "email", "phone", "address", "login", "text", "file_name", "url",
                        "sink", "iban", "card", "card_token", "billing", "opaque", "template", "tenant_name"})  # fmt: skip
