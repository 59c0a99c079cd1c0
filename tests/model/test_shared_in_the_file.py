"""The rules of shared containers in ``ownership.yaml``: read, written, and refused with their line."""

from __future__ import annotations

import pytest

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.sharedmap import Shared
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.ownership_file import loads, render

FILE = """version: 1
postgres: {tables: {tenants: {rule: root, column: id}}}
ids:
  dataset: {table: datasets, column: id}
stores:
  redis:
    families:
      own: {template: "own:{tenant}"}
    shared:
      online: {template: "online", owner: "{tenant}:*"}
      tasks: {template: "celery", path: body.1.dataset, owner: "{dataset}"}
      lines: {template: "app:*", path: tenant_id, personal: [message, user.mail]}
"""


def test_the_section_is_read_and_written() -> None:
    map_ = loads(FILE)
    assert map_.keys["redis"].shared == {
        "online": Shared(Template.parse("online"), owner=Template.parse("{tenant}:*")),
        "tasks": Shared(Template.parse("celery"), ("body", "1", "dataset"), Template.parse("{dataset}")),
        "lines": Shared(Template.parse("app:*"), ("tenant_id",), personal=(("message",), ("user", "mail"))),
    }
    assert loads(render(map_)) == map_


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('online: {template: "online"}', "path into it, or owner"),
        ('online: {template: "online", owner: "all"}', "no placeholder"),
        ('online: {template: "online:{tenant}", path: a}', "not known"),
        ('online: {template: "online", path: a..b}', "with dots between"),
        ('own: {template: "x", path: a}', "family as well"),
    ],
)
def test_a_mistake_names_its_line(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        loads(FILE.replace('online: {template: "online", owner: "{tenant}:*"}', line))
    assert str(caught.value).startswith("ownership.yaml:10:"), str(caught.value)
