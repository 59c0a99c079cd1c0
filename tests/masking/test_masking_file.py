"""``masking.yaml``: every mistake is an error with its line, and what the rules say is what is done."""

from __future__ import annotations

import pytest

from masking.corpus import sandbox_registry, shape_of
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.masking.classes import DataType
from tenant_lifecycle.masking.modes import Mode, data_types, open_references
from tenant_lifecycle.masking.registry import Registry
from tenant_lifecycle.masking_file import read_registry
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.yaml_file import parse

TOP = "version: 1\nstores:\n  postgres:\n    users:\n      data: configs\n"


def registry(text: str) -> Registry:
    return read_registry(parse(text, "masking.yaml", substitute=False))


def columns(*lines: str) -> Registry:
    return registry(TOP + "      columns:\n" + "".join(f"        {line}\n" for line in lines))


MISTAKES = {
    "name: direct": "7: .*direct needs a kind: address, constant",
    "name: personal": "7: .*'personal' is not a valid choice",
    "name: {kind: name}": "7: .*the key 'class' is missing",
    "name: {class: direct, kind: nmae}": "7: .*did you mean 'name'",
    "name: {class: public, kind: name}": "7: .*name is not for public; it is for direct",
    "name: {class: direct, kind: keep}": "7: .*keep is not for direct",
    "name: {class: direct, kind: name, width: 3}": "7: .*unknown key 'width'",
    "id: {class: identifier, kind: integer}": "7: .*integer needs a domain",
    "name: {class: direct, kind: email, data: bodies}": "7: .*'bodies' is not a valid choice",
    "meta: {json: {a: {json: {b: secrets}}}}": "7: .*'secrets' is not a valid choice; did you mean 'secret'",
    "meta: json": "7: .*json needs a kind: json: rules by key",
    "file: {class: identifier, kind: template, template: 'a/{x'}": "7: .*write {tenant}",
    "name: [direct]": "7: .*expected text, found a list",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_in_a_rule_is_named_with_its_line(line: str) -> None:
    with pytest.raises(ConfigError, match=rf"masking\.yaml:{MISTAKES[line]}"):
        columns(line)


@pytest.mark.parametrize(("text", "says"), [
    ("stores: {}", "1: the key 'version' is missing"), ("version: 2\nstores: {}", "1: version: 2 is too large"),
    (TOP, "4: stores.postgres.users: a set has either columns"),
    (TOP + "      fields: {value: public}", "4: .*items with fields have names"),
    (TOP + "      columns: {id: subject_id, id: subject_id}", "6: .*a second time"),
    ("version: 1\nk: 1\nstores: {}", "2: k: 1 is too small"),
    ("version: 1\nemail: {domain: testdomain.com}\nstores: {}", "2: .*testdomain.com may be somebody's"),
    ("version: 1\nregions: [DE]\nstores: {}", "2: .*unknown key 'regions'"),
])  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        registry(text)


def test_an_owned_domain_is_taken() -> None:
    found = registry("version: 1\nemail: {domain: testdomain.com, owned: true}\nstores: {}")
    assert (found.email_domain, found.email_domain_owned) == ("testdomain.com", True)


def test_the_sandboxs_registry_covers_its_schema() -> None:
    found = sandbox_registry()
    for table in found.stores["postgres"]:
        if table == "load_writes":
            continue
        assert refusals(found.findings("postgres", {table: shape_of(table)})) == [], table
    assert not [f for mode in Mode for f in open_references(found, data_types(mode))]


def test_an_unknown_table_or_column_is_refused_and_a_gone_one_told() -> None:
    found = columns("id: subject_id", "email: {class: direct, kind: email}")
    shape = Shape(
        "public.users",
        (Column("id", "uuid"), Column("ssn", "text"), Column("words", "tsvector", generated=True)),
        ("id",),
    )
    told = {
        (f.code, f.severity.value): f.message
        for f in found.findings("postgres", {"u": shape, "x": Shape("public.carts", (), ())})
    }
    assert (
        "users.ssn" in told["masking.unclassified", "refusal"]
        or "carts" in told["masking.unclassified", "refusal"]
    )
    assert len(refusals(found.findings("postgres", {"u": shape, "x": Shape("public.carts", (), ())}))) == 2
    assert "users.email has a rule and is not there" in told["masking.gone", "warning"]


@pytest.mark.parametrize(("rule", "code"), [
    ("{class: account, kind: card}", "masking.lossy-unique"), ("{class: direct, kind: 'null'}", "masking.lossy-unique"),
    ("{class: direct, kind: name}", "masking.maybe-unique"), ("{class: direct, kind: email}", ""),
])  # fmt: skip
def test_what_makes_values_equal_is_refused_on_a_unique_column(rule: str, code: str) -> None:
    found = registry(
        TOP + "      unique: [[contact]]\n      columns:\n        id: subject_id\n        contact: " + rule
    )
    shape = Shape("users", (Column("id", "uuid"), Column("contact", "text")), ("id",))
    assert [f.code for f in found.findings("postgres", {"u": shape})] == [code] * bool(code)


@pytest.mark.parametrize(("rule", "type_"), [
    ("subject_id", "bigint"), ("{class: identifier, kind: integer, domain: x}", "uuid"), ("{class: direct, kind: email}", "numeric(3,1)"),
    ("{json: {a: public}}", "integer"),
])  # fmt: skip
def test_a_kind_that_does_not_fit_the_type_is_refused(rule: str, type_: str) -> None:
    found = columns(f"id: {rule}")
    findings = found.findings("postgres", {"u": Shape("users", (Column("id", type_),), ())})
    assert [f.code for f in findings] == ["masking.unfit"]


def test_nothing_cannot_stand_where_something_must() -> None:
    found = columns("note: {class: free_text, kind: 'null'}")
    findings = found.findings(
        "postgres", {"u": Shape("users", (Column("note", "text", nullable=False),), ())}
    )
    assert [f.code for f in findings] == ["masking.unfit"]


def test_a_set_without_what_it_refers_to_is_refused() -> None:
    text = (
        TOP
        + "      columns: {id: subject_id}\n    orders:\n      data: metadata\n      references: {user: users.id}\n      columns: {user: subject_id}\n"
    )
    assert [f.code for f in open_references(registry(text), {DataType.METADATA})] == [
        "masking.open-reference"
    ]
    assert not list(open_references(registry(text), {DataType.METADATA, DataType.CONFIGS}))
