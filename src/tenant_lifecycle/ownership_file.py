"""The file ``ownership.yaml``: reading it strictly, and writing it with the evidence for each rule.

The keys of every rule stand once, in `_RULES` and `_HOPS`; the reader and the published JSON Schema are
both made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenant_lifecycle.keymap_file import (
    key_sections,
    key_sections_schema,
    read_key_sections,
    render_key_sections,
)
from tenant_lifecycle.model.maprules import problems
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Rule, Shared, Via
from tenant_lifecycle.yaml_file import Node, parse
from tenant_lifecycle.yaml_file import load as load_yaml

#: Key of a rule -> what stands there: one name, or a list of names.
_NAME, _NAMES = "name", "names"
_RULES: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "root": ({"column": _NAME},),
    "direct": ({"column": _NAME},),
    "via": ({"columns": _NAMES, "parent": _NAME, "parent_columns": _NAMES}, {"first_of": "hops"}),
    "shared": ({"through": _NAME, "column": _NAME, "key": _NAME},),
    "global": ({},),
}
_HOPS: tuple[Mapping[str, str], ...] = (_RULES["via"][0], {"column": _NAME})


@dataclass(frozen=True, slots=True)
class Undecided:
    """A table that gets no rule when the file is written: its comments say what a person has to decide."""

    table: TableName
    comments: tuple[str, ...]


def load(path: Path) -> OwnershipMap:
    """Read the map of a file.

    Raises:
        ConfigError: with file and line: not readable, a mistake in the form, or a map that is wrong in itself.
    """
    return _read(load_yaml(path, substitute=False))


def loads(text: str, file: str = "ownership.yaml") -> OwnershipMap:
    """Like `load`, from text."""
    return _read(parse(text, file, substitute=False))


def _read(top: Node) -> OwnershipMap:
    sections = top.mapping({"version", "postgres", *key_sections}, required=("version", "postgres"))
    if sections["version"].integer() != 1:
        raise sections["version"].error("this version of the format is not known; known is 1")
    fields = sections["postgres"].mapping({"schema_template", "per_database", "tables"})
    nodes: dict[TableName, Node] = {}
    rules: dict[TableName, Rule] = {}
    tables = fields.get("tables")
    for key, node in (tables.mapping() if tables is not None else {}).items():
        name = _table_name(node, key)
        if name in rules:
            raise node.error(f"{name} stands here a second time; first in line {nodes[name].line}")
        nodes[name], rules[name] = node, _rule(node)
    template = fields.get("schema_template")
    per_database = fields.get("per_database")
    ids, keys = read_key_sections(sections)
    map_ = OwnershipMap(
        rules,
        schema_template=template.text() if template is not None else None,
        per_database=per_database.boolean() if per_database is not None else False,
        ids=ids,
        keys=keys,
    )
    for problem in problems(map_):
        place = nodes[problem.table] if problem.table is not None else tables or sections["postgres"]
        raise place.error(problem.message)
    return map_


def _rule(node: Node) -> Rule:
    kind = node.mapping(required=("rule",))["rule"].choice(_RULES)
    fields = _fields(node, _RULES[kind], {"rule"})
    match kind:
        case "root":
            return Root(fields["column"].text())
        case "direct":
            return Direct(fields["column"].text())
        case "shared":
            return Shared(
                _table_name(fields["through"], fields["through"].text()),
                fields["column"].text(),
                fields["key"].text(),
            )
        case "via" if "first_of" in fields:
            hops = [_hop(_fields(item, _HOPS)) for item in fields["first_of"].list()]
            if not hops:
                raise fields["first_of"].error("at least one way to an owner is needed")
            return Via(tuple(hops))
        case "via":
            return Via((_hop(fields),))
    return Global()


def _fields(
    node: Node, forms: Sequence[Mapping[str, str]], besides: frozenset[str] | set[str] = frozenset()
) -> dict[str, Node]:
    """The node's values, which have one of the forms; the form is chosen by what no other form has."""
    present = node.mapping()
    for form in forms:
        others = {key for other in forms if other is not form for key in other} - set(form)
        if not others & set(present) or form is forms[-1]:
            return node.mapping({*besides, *form}, required=form)
    raise AssertionError("forms is not empty")


def _hop(fields: Mapping[str, Node]) -> Hop:
    if "column" in fields:
        return Hop((fields["column"].text(),))
    parent = fields["parent"]
    return Hop(
        _names(fields["columns"]), _table_name(parent, parent.text()), _names(fields["parent_columns"])
    )


def _names(node: Node) -> tuple[str, ...]:
    names = tuple(item.text() for item in node.list())
    if not names:
        raise node.error("at least one column is needed")
    if len(set(names)) != len(names):
        raise node.error("a column is named twice")
    return names


def _table_name(node: Node, text: str) -> TableName:
    name = TableName.parse(text)
    if not name.schema or not name.name:
        raise node.error(f"{text!r} is no table; write schema.table, or table for one of schema public")
    return name


def render(
    map_: OwnershipMap,
    comments: Mapping[TableName, Iterable[str]] | None = None,
    undecided: Iterable[Undecided] = (),
) -> str:
    """The map as a file; `loads` of it gives the map back.

    ``comments`` stand above their table's rule, one line each. Undecided tables stand below as comments.

    Raises:
        ValueError: a schema's name contains a dot, which the file cannot say.
    """
    lines = [
        "# Which rows are whose. Check it with: tenantctl map check",
        "# A table without a rule stops a migration.",
        "version: 1",
        "postgres:",
    ]
    if map_.schema_template is not None:
        lines.append(f"  schema_template: {_scalar(map_.schema_template)}")
    if map_.per_database:
        lines.append("  per_database: true")
    lines.append("  tables:" if map_.tables else "  tables: {}")
    for table, rule in map_.tables.items():
        lines += [f"    # {_comment(line)}" for line in (comments or {}).get(table, ())]
        lines.append(f"    {_scalar(_table_text(table))}: {_flow(rule_document(rule))}")
    for item in undecided:
        lines += ["", f"    # Undecided: {_comment(str(item.table))}"]
        lines += [f"    #   {_comment(line)}" for line in item.comments]
    lines += render_key_sections(map_.ids, map_.keys, _scalar, _table_text)
    return "\n".join(lines) + "\n"


def rule_document(rule: Rule) -> dict[str, Any]:
    """A rule as it stands in the file."""
    match rule:
        case Root(column):
            return {"rule": "root", "column": column}
        case Direct(column):
            return {"rule": "direct", "column": column}
        case Via((hop,)) if hop.parent is not None:
            return {"rule": "via", **_hop_fields(hop)}
        case Via(hops):
            return {"rule": "via", "first_of": [_hop_fields(hop) for hop in hops]}
        case Shared(through, column, key):
            return {"rule": "shared", "through": _table_text(through), "column": column, "key": key}
        case Global():
            return {"rule": "global"}
    raise TypeError(f"{rule!r} follows from schema_template or per_database and is never written")


def _hop_fields(hop: Hop) -> dict[str, Any]:
    if hop.parent is None:
        return {"column": hop.columns[0]}
    return {
        "columns": list(hop.columns),
        "parent": _table_text(hop.parent),
        "parent_columns": list(hop.parent_columns),
    }


def _table_text(table: TableName) -> str:
    text = table.name if table.schema == "public" and "." not in table.name else str(table)
    if TableName.parse(text) != table:
        raise ValueError(f"a schema with a dot in its name cannot be written: {table}")
    return text


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
#: Plain words that some YAML reader takes for something else than text.
_SPECIAL = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _SPECIAL:
        return text
    escaped = [
        c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text
    ]  # fmt: skip
    return f'"{"".join(escaped)}"'


def _comment(text: str) -> str:
    """One line, whatever characters a name in it has."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def json_schema() -> dict[str, Any]:
    """The format as JSON Schema (2020-12), for editors."""
    hop = {"anyOf": [_object(form) for form in _HOPS]}
    rules = [
        _object(form, {"rule": {"const": kind}}) for kind, forms in _RULES.items() for form in forms
    ]  # fmt: skip
    postgres = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "schema_template": {"type": "string", "pattern": r"\{tenant\}"},
            "per_database": {"type": "boolean"},
            "tables": {"type": "object", "additionalProperties": {"anyOf": rules}},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ownership.yaml: which rows are whose",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "postgres"],
        "properties": {"version": {"const": 1}, "postgres": postgres, **key_sections_schema()},
        "$defs": {"hop": hop},
    }


def json_schema_text() -> str:
    """`json_schema` as it is published."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _object(form: Mapping[str, str], besides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    name = {"type": "string", "minLength": 1}
    values: dict[str, Any] = {
        _NAME: name,
        _NAMES: {"type": "array", "items": name, "minItems": 1, "uniqueItems": True},
        "hops": {"type": "array", "items": {"$ref": "#/$defs/hop"}, "minItems": 1},
    }
    properties = {**(besides or {}), **{key: values[kind] for key, kind in form.items()}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }
