"""The sections ``ids`` and ``stores`` of ``ownership.yaml``: whose keys, prefixes, namespaces and objects are whose.

::

    ids:
      collection: {table: collections, column: id}
    stores:
      redis:
        families:
          answers: {template: "answer:{tenant}:*"}
          sessions: {template: "session:{tenant}:*", treatment: skip}
        shared:
          events: {template: "events:*", path: tenant_id}
          online: {template: "online", owner: "{tenant}:*"}
        global: ["rates:*"]
      objects:
        families:
          uploads: {named_in: {table: documents, column: object_key}, template: "uploads/*"}
      warehouse:
        tables:
          main.events: {column: tenant_id}
          main.chunks: {column: collection, ids: collection}
        global: ["main.calendar"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tenant_lifecycle.model.keymap import Family, IdSet, KeyMap, Treatment
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.tablemap import TableRule
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.yaml_file import Node

#: The keys of the file that are read here.
key_sections = frozenset({"ids", "stores"})


def read_key_sections(sections: Mapping[str, Node]) -> tuple[dict[str, IdSet], dict[str, KeyMap]]:
    """Id sets by name and key maps by store name.

    Raises:
        ConfigError: with file and line.
    """
    ids = {
        name: _id_set(node) for name, node in (sections["ids"].mapping() if "ids" in sections else {}).items()
    }
    if "tenant" in ids:
        raise sections["ids"].mapping()["tenant"].error("{tenant} is the tenant's id; name the set otherwise")
    stores = sections["stores"].mapping() if "stores" in sections else {}
    return ids, {name: _key_map(node, ids) for name, node in stores.items()}


def _id_set(node: Node) -> IdSet:
    fields = node.mapping({"table", "column"}, required=("table", "column"))
    table = TableName.parse(fields["table"].text())
    if not table.schema or not table.name:
        raise fields["table"].error(f"{fields['table'].text()!r} is no table")
    return IdSet(table, fields["column"].text())


def _key_map(node: Node, ids: Mapping[str, IdSet]) -> KeyMap:
    fields = node.mapping({"families", "global", "shared", "tables"})
    if not {"families", "tables"} & fields.keys():
        raise node.error("a store needs families of keys, or tables of rows")
    families = {name: _family(family, ids) for name, family in _items(fields, "families")}
    globals_ = (
        [_template(item, frozenset()) for item in fields["global"].list()] if "global" in fields else []
    )
    shared = dict(_items(fields, "shared"))
    if twice := sorted(shared.keys() & families.keys()):
        raise shared[twice[0]].error(f"{twice[0]!r} is the name of a family as well")
    return KeyMap(
        families,
        tuple(globals_),
        {name: _shared(one, ids) for name, one in shared.items()},
        {name: _table_rule(one, ids) for name, one in _items(fields, "tables")},
    )


def _items(fields: Mapping[str, Node], key: str) -> Iterable[tuple[str, Node]]:
    return fields[key].mapping().items() if key in fields else ()


def _table_rule(node: Node, ids: Mapping[str, IdSet]) -> TableRule:
    fields = node.mapping({"column", "ids"}, required=("column",))
    of = fields["ids"].choice(ids) if "ids" in fields else None
    return TableRule(fields["column"].text(), of)


def _shared(node: Node, ids: Mapping[str, IdSet]) -> Shared:
    fields = node.mapping({"template", "path", "owner", "personal"}, required=("template",))
    owner = _template(fields["owner"], frozenset(ids) | {"tenant"}) if "owner" in fields else None
    if owner is None and "path" not in fields:
        raise node.error("whose a member is needs a path into it, or owner: what its text reads like")
    if owner is not None and not owner.names:
        raise fields["owner"].error("the owner has no placeholder, so every member would be every tenant's")
    path = _path(fields["path"]) if "path" in fields else ()
    personal = tuple(_path(one) for one in fields["personal"].list()) if "personal" in fields else ()
    rule = Shared(_template(fields["template"], frozenset()), path, personal=personal)
    return rule if owner is None else replace(rule, owner=owner)


def _path(node: Node) -> tuple[str, ...]:
    steps = tuple(node.text().split("."))
    if not all(steps):
        raise node.error("a path is names of fields with dots between them: body.1.tenant_id")
    return steps


def _family(node: Node, ids: Mapping[str, IdSet]) -> Family:
    fields = node.mapping({"template", "named_in", "treatment"})
    named_in = _id_set(fields["named_in"]) if "named_in" in fields else None
    if "template" not in fields and named_in is None:
        raise node.error("a family needs a template, or named_in: the column that holds its keys")
    known = frozenset() if named_in else frozenset(ids) | {"tenant"}
    template = _template(fields["template"], known) if "template" in fields else None
    if named_in is None and template is not None and not template.names:
        raise fields["template"].error(
            "the template has no placeholder, so its keys are every tenant's; put it under global, or use {tenant}"
        )
    treatment = Treatment.MOVE
    if "treatment" in fields:
        treatment = Treatment(fields["treatment"].choice([one.value for one in Treatment]))
    return Family(template, named_in, treatment)


def _template(node: Node, known: frozenset[str]) -> Template:
    try:
        template = Template.parse(node.text())
    except ValueError as exc:
        raise node.error(str(exc)) from exc
    unknown = sorted(template.names - known)
    if unknown:
        allowed = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none here"
        raise node.error(f"the placeholder {{{unknown[0]}}} is not known; known: {allowed}")
    return template


def render_key_sections(
    ids: Mapping[str, IdSet],
    keys: Mapping[str, KeyMap],
    scalar: Callable[[str], str],
    table: Callable[[TableName], str],
) -> list[str]:
    """The lines of both sections; none if both are empty."""
    lines = ["ids:"] if ids else []
    lines += [f"  {scalar(name)}: {_render_id_set(id_set, scalar, table)}" for name, id_set in ids.items()]
    lines += ["stores:"] if keys else []
    for store, key_map in keys.items():
        lines.append(f"  {scalar(store)}:")
        if key_map.families or not key_map.tables:
            lines.append("    families:" if key_map.families else "    families: {}")
        for name, family in key_map.families.items():
            parts = []
            if family.template is not None:
                parts.append(f"template: {scalar(str(family.template))}")
            if family.named_in is not None:
                parts.append(f"named_in: {_render_id_set(family.named_in, scalar, table)}")
            if family.treatment is not Treatment.MOVE:
                parts.append(f"treatment: {family.treatment}")
            lines.append(f"      {scalar(name)}: {{{', '.join(parts)}}}")
        lines += ["    shared:"] if key_map.shared else []
        for name, shared in key_map.shared.items():
            lines.append(f"      {scalar(name)}: {{{_render_shared(shared, scalar)}}}")
        lines += ["    tables:"] if key_map.tables else []
        for name, rule in key_map.tables.items():
            of = f", ids: {scalar(rule.ids)}" if rule.ids is not None else ""
            lines.append(f"      {scalar(name)}: {{column: {scalar(rule.column)}{of}}}")
        if key_map.globals:
            lines.append(f"    global: [{', '.join(scalar(str(one)) for one in key_map.globals)}]")
    return lines


def _render_shared(shared: Shared, scalar: Callable[[str], str]) -> str:
    parts = [f"template: {scalar(str(shared.template))}"]
    if shared.path:
        parts.append(f"path: {scalar('.'.join(shared.path))}")
    if not shared.path or shared.owner != Shared(shared.template).owner:
        parts.append(f"owner: {scalar(str(shared.owner))}")
    if shared.personal:
        parts.append(f"personal: [{', '.join(scalar('.'.join(path)) for path in shared.personal)}]")
    return ", ".join(parts)


def _render_id_set(id_set: IdSet, scalar: Callable[[str], str], table: Callable[[TableName], str]) -> str:
    return f"{{table: {scalar(table(id_set.table))}, column: {scalar(id_set.column)}}}"


def key_sections_schema() -> dict[str, Any]:
    """Both sections as JSON Schema properties."""
    name = {"type": "string", "minLength": 1}
    id_set = {
        "type": "object",
        "additionalProperties": False,
        "required": ["table", "column"],
        "properties": {"table": name, "column": name},
    }
    family = {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["template"]}, {"required": ["named_in"]}],
        "properties": {
            "template": name,
            "named_in": id_set,
            "treatment": {"enum": [one.value for one in Treatment]},
        },
    }
    shared = {
        "type": "object",
        "additionalProperties": False,
        "required": ["template"],
        "anyOf": [{"required": ["path"]}, {"required": ["owner"]}],
        "properties": {
            "template": name,
            "path": name,
            "owner": name,
            "personal": {"type": "array", "items": name},
        },
    }
    rows = {
        "type": "object",
        "additionalProperties": False,
        "required": ["column"],
        "properties": {"column": name, "ids": name},
    }
    store = {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["families"]}, {"required": ["tables"]}],
        "properties": {
            "tables": {"type": "object", "additionalProperties": rows},
            "families": {"type": "object", "additionalProperties": family},
            "shared": {"type": "object", "additionalProperties": shared},
            "global": {"type": "array", "items": name},
        },
    }
    return {
        "ids": {"type": "object", "additionalProperties": id_set},
        "stores": {"type": "object", "additionalProperties": store},
    }
