"""Tables of analytics in ownership.yaml: read strictly, written back, and applied to what exists."""

from __future__ import annotations

import pytest

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.keymap import TenantIds
from tenant_lifecycle.ownership_file import loads, render

TEXT = """
version: 1
postgres: {tables: {tenants: {rule: root, column: id}, projects: {rule: direct, column: tenant_id}}}
ids: {project: {table: projects, column: id}}
stores:
  warehouse:
    tables:
      events: {column: tenant_id}
      pages: {column: project_id, ids: project}
    global: ["geo_*"]
"""


def test_tables_survive_a_round_trip() -> None:
    map_ = loads(TEXT)
    assert loads(render(map_)) == map_
    assert map_.keys["warehouse"].id_sets() == {"project"}


def test_rules_are_applied_to_what_exists_and_the_rest_is_unmapped() -> None:
    rules = loads(TEXT).keys["warehouse"]
    ids = TenantIds({"project": frozenset({"p1", "p2"})})
    resolved = rules.resolve_tables("acme", ids, ["events", "pages", "geo_cities", "events_copy"])
    assert resolved.owned["events"].values == {"acme"}
    assert resolved.owned["pages"].values == {"p1", "p2"}
    assert resolved.unmapped == {"events_copy"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("pages: {column: project_id, ids: projct}", "projct"),
        ("pages: {}", "column"),
        ("pages: {column: a, colum: b}", "colum"),
    ],
)
def test_a_mistake_is_told_with_its_line(bad: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loads(TEXT.replace("pages: {column: project_id, ids: project}", bad))


def test_a_store_without_families_and_tables_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="tables of rows"):
        loads(TEXT.split("    tables:\n      events")[0] + "    global: []\n")
