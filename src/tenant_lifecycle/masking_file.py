"""``masking.yaml``: what every place of a tenant's data is, and what becomes of it in a clone.

::

    version: 1
    stores:
      postgres:
        users:
          data: metadata
          unique: [[email]]
          columns:
            id: subject_id
            email: {class: direct, kind: email}
            full_name: {class: direct, kind: name}
            meta: {json: {source: {class: free_text, kind: file_name}, pages: structural}}
      objects:
        documents:
          data: documents
          names: {key: "documents/{tenant}/{document}.txt"}
          fields: {content: free_text, headers: public, metadata: {json: {title: {class: free_text, encoding: url}}}}

A rule in one word is a class with its usual kind. docs/masking.md lists classes, kinds and their options.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tenant_lifecycle.masking.classes import DataClass, DataType, Rule
from tenant_lifecycle.masking.naming import NameForm
from tenant_lifecycle.masking.registry import Registry, SetRules
from tenant_lifecycle.masking.setting import is_reserved
from tenant_lifecycle.masking.transformers import KINDS
from tenant_lifecycle.yaml_file import Node, load

#: What a class becomes if the rule names no kind; the others need one.
USUAL: Mapping[DataClass, str] = {
    DataClass.SUBJECT_ID: "uuid",
    DataClass.IDENTIFIER: "uuid",
    DataClass.TENANT_ID: "tenant",
    DataClass.FREE_TEXT: "text",
    DataClass.SECRET: "regenerate",
    DataClass.SIDE_EFFECT: "sink",
    DataClass.EMBEDDING: "embedding",
    DataClass.BINARY: "drop",
    DataClass.PUBLIC: "keep",
    DataClass.STRUCTURAL: "keep",
}
_RULE_KEYS = frozenset({"class", "kind", "domain", "data"})
_NEED_DOMAIN = frozenset({"integer", "opaque"})


def load_registry(path: Path) -> Registry:
    """Read the file.

    Raises:
        ConfigError: with file and line.
    """
    return read_registry(load(path, substitute=False))


def read_registry(node: Node) -> Registry:
    """From a file that is read already."""
    fields = node.mapping(
        {"version", "email", "phone_regions", "k", "stores"}, required=("version", "stores")
    )
    fields["version"].integer(minimum=1, maximum=1)
    domain, owned = _email(fields.get("email"))
    regions = fields["phone_regions"].list() if "phone_regions" in fields else []
    return Registry(
        {store: _sets(sets) for store, sets in fields["stores"].mapping().items()},
        domain,
        owned,
        tuple(region.text() for region in regions),
        fields["k"].integer(minimum=2) if "k" in fields else 5,
    )


def _email(node: Node | None) -> tuple[str, bool]:
    if node is None:
        return "example.com", False
    fields = node.mapping({"domain", "owned"}, required=("domain",))
    domain = fields["domain"].text()
    owned = fields["owned"].boolean() if "owned" in fields else False
    if not owned and not is_reserved(domain):
        raise fields["domain"].error(
            f"{domain} may be somebody's: made-up addresses would reach strangers",
            next_step="use example.com, or say `owned: true` if the domain is yours or a sink swallows it",
        )
    return domain, owned


def _sets(node: Node) -> dict[str, SetRules]:
    return {name: _set(name, one) for name, one in node.mapping().items()}


def _set(name: str, node: Node) -> SetRules:
    fields = node.mapping({"data", "columns", "fields", "names", "unique", "references"}, required=("data",))
    if ("columns" in fields) == ("fields" in fields):
        raise node.error("a set has either columns, or names and fields")
    if ("names" in fields) != ("fields" in fields):
        raise node.error("items with fields have names, and those with columns have none")
    rules = fields.get("columns") or fields["fields"]
    unique = fields["unique"].list() if "unique" in fields else []
    references = fields["references"].mapping() if "references" in fields else {}
    return SetRules(
        DataType(fields["data"].choice([one.value for one in DataType])),
        {key: _rule(rule, f"{name}.{key}") for key, rule in rules.mapping().items()},
        {key: _form(form) for key, form in fields["names"].mapping().items()} if "names" in fields else {},
        tuple(tuple(column.text() for column in group.list()) for group in unique),
        {column: target.text() for column, target in references.items()},
    )


def _form(node: Node) -> NameForm:
    try:
        return NameForm.parse(node.text())
    except ValueError as exc:
        raise node.error(str(exc)) from exc


def _rule(node: Node, place: str) -> Rule:
    if not node.is_mapping:
        cls = DataClass(node.choice([one.value for one in DataClass]))
        return _checked(node, Rule(cls, _usual(node, cls), _domain(node, _usual(node, cls), "", place)))
    fields = node.mapping()
    if "json" in fields:
        fields = node.mapping({"json", "data"})
        children = {key: _rule(child, f"{place}.{key}") for key, child in fields["json"].mapping().items()}
        return Rule(DataClass.JSON, "json", children=children, data=_data(fields))
    if "class" not in fields:
        raise node.error("the key 'class' is missing")
    cls = DataClass(fields["class"].choice([one.value for one in DataClass]))
    kind = fields["kind"].choice(KINDS) if "kind" in fields else _usual(node, cls)
    domain = _domain(node, kind, fields["domain"].text() if "domain" in fields else "", place)
    fields = node.mapping(_RULE_KEYS | (KINDS[kind].options if kind in KINDS else frozenset()))
    options = {key: one.scalar() for key, one in fields.items() if key not in _RULE_KEYS}
    return _checked(node, Rule(cls, kind, domain, options, data=_data(fields)))


def _usual(node: Node, cls: DataClass) -> str:
    if cls not in USUAL:
        kinds = sorted(kind.name for kind in KINDS.values() if cls in kind.classes)
        raise node.error(f"{cls} needs a kind: {', '.join(kinds) or 'json: rules by key'}")
    return USUAL[cls]


def _domain(node: Node, kind: str, given: str, place: str) -> str:
    if kind in _NEED_DOMAIN and not given:
        raise node.error(f"{kind} needs a domain: columns that hold the same ids have the same one")
    return given or place


def _data(fields: Mapping[str, Node]) -> DataType | None:
    return DataType(fields["data"].choice([one.value for one in DataType])) if "data" in fields else None


def _checked(node: Node, rule: Rule) -> Rule:
    kind = KINDS[rule.kind]
    if rule.cls not in kind.classes:
        raise node.error(f"{rule.kind} is not for {rule.cls}; it is for {', '.join(sorted(kind.classes))}")
    if rule.kind == "template":
        try:
            NameForm.parse(rule.text("template"))
        except ValueError as exc:
            raise node.error(str(exc)) from exc
    return rule
