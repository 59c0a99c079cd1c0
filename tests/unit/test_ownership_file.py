"""The ownership file: strict to read, exact to write, with a schema that says the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.model.ownership import Direct, Global, Hop, OwnershipMap, Root, Shared, Via
from tenant_lifecycle.ownership_file import Undecided, json_schema_text, load, loads, render

T = TableName.parse
PUBLISHED = Path(__file__).parents[2] / "docs/reference/ownership.schema.json"
FILE = """
version: 1
postgres:
  tables:
    tenants: {rule: root, column: id}
    documents: {rule: direct, column: tenant_id}
    chat.conversations: {rule: direct, column: tenant_id}
    messages: {rule: via, columns: [conversation_id], parent: chat.conversations, parent_columns: [id]}
    notes:
      rule: via
      first_of:
        - {columns: [document_id], parent: documents, parent_columns: [id]}
        - {column: tenant_id}
    memberships: {rule: direct, column: tenant_id}
    users: {rule: shared, through: memberships, column: user_id, key: id}
    plans: {rule: global}
"""
MAP = OwnershipMap(
    {
        T("tenants"): Root("id"),
        T("documents"): Direct("tenant_id"),
        T("chat.conversations"): Direct("tenant_id"),
        T("messages"): Via((Hop(("conversation_id",), T("chat.conversations"), ("id",)),)),
        T("notes"): Via((Hop(("document_id",), T("documents"), ("id",)), Hop(("tenant_id",)))),
        T("memberships"): Direct("tenant_id"),
        T("users"): Shared(T("memberships"), "user_id", "id"),
        T("plans"): Global(),
    }
)


def test_every_rule_is_read() -> None:
    assert loads(FILE) == MAP


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ownership.yaml"
    path.write_text(
        render(
            MAP, {T("messages"): ["all 300 sampled\nrows agree"]}, [Undecided(T("odd"), ("who owns it?",))]
        )
    )
    assert load(path) == MAP
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("    messages:"))
    assert "all 300 sampled" in lines[at - 1] and lines[at - 1].lstrip().startswith("#")
    assert any("Undecided: public.odd" in line for line in lines)


def test_tenants_that_are_schemas_or_databases_need_no_root() -> None:
    text = "version: 1\npostgres: {schema_template: 'tenant_{tenant}', tables: {plans: {rule: global}}}"
    assert loads(text).schema_template == "tenant_{tenant}"
    assert loads(render(loads(text))) == loads(text)
    assert loads("version: 1\npostgres: {per_database: true}").per_database


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("version: 1", "version: 2"), 2, "version"),
        (("postgres:", "postgresql:"), 3, "did you mean 'postgres'"),
        (("{rule: root, column: id}", "{rule: root, colum: id}"), 5, "did you mean 'column'"),
        (("{rule: root, column: id}", "{rule: root}"), 5, "'column' is missing"),
        (("{rule: root, column: id}", "{column: id}"), 5, "'rule' is missing"),
        (("rule: global", "rule: globl"), 16, "did you mean 'global'"),
        (("{rule: root, column: id}", "{rule: global}"), 4, "no table has the rule root"),
        (("documents: {rule: direct, column", "documents: {rule: root, column"), 6, "second root"),
        (("parent: chat.conversations", "parent: chats"), 8, "not in the map"),
        (("parent: chat.conversations", "parent: plans"), 8, "is global"),
        (("parent: chat.conversations", "parent: users"), 8, "is shared"),
        (("through: memberships", "through: plans"), 15, "is global"),
        (("columns: [conversation_id]", "columns: [a, b]"), 8, "as many"),
        (("columns: [conversation_id]", "columns: []"), 8, "at least one column"),
        (("columns: [conversation_id]", "columns: [a, a]"), 8, "twice"),
        (("plans:", "public.documents:"), 16, "second time"),
        (("plans:", "documents:"), 16, "second time"),
        (("plans:", ".x:"), 16, "is no table"),
        (
            ("documents: {rule: direct, column: tenant_id}",
             "documents: {rule: via, columns: [n], parent: notes, parent_columns: [id]}"), 6, "circle",
        ),
        (("rule: via, columns", "rule: via, first_of: [{column: x}], columns"), 8, "unknown key 'columns'"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line(change, line, words) -> None:
    assert change[0] in FILE
    with pytest.raises(ConfigError) as caught:
        loads(FILE.replace(change[0], change[1], 1))
    assert str(caught.value).startswith(f"ownership.yaml:{line}:"), str(caught.value)
    assert words in str(caught.value)


def test_a_template_without_the_tenant_is_refused() -> None:
    with pytest.raises(ConfigError, match="exactly once"):
        loads("version: 1\npostgres: {schema_template: tenants}")


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8
)


@given(name=names, column=names)
def test_hostile_names_survive_writing_and_reading(name: str, column: str) -> None:
    map_ = OwnershipMap({TableName("public", name): Root(column), T("x"): Direct(column)})
    if name != "x":
        assert loads(render(map_, {T("x"): [f"about {name}"]}, [Undecided(T("y"), (name,))])) == map_


def test_a_schema_that_the_file_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="dot"):
        render(OwnershipMap({TableName("a.b", "c"): Root("id")}))


def test_the_published_schema_is_the_current_one() -> None:
    assert PUBLISHED.read_text() == json_schema_text(), (
        "tenantctl map schema > docs/reference/ownership.schema.json"
    )


def test_the_schema_knows_every_rule() -> None:
    schema = json.loads(json_schema_text())
    forms = schema["properties"]["postgres"]["properties"]["tables"]["additionalProperties"]["anyOf"]
    assert {form["properties"]["rule"]["const"] for form in forms} == {
        "root", "direct", "via", "shared", "global",
    }  # fmt: skip
