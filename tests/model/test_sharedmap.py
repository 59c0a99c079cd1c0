"""Whose a member of a shared container is: by its text, or by what stands at a path, packed as it may be."""

from __future__ import annotations

import base64
import json

import pytest

from tenant_lifecycle.model.keymap import KeyMap, TenantIds
from tenant_lifecycle.model.sharedmap import Shared, text_at
from tenant_lifecycle.model.templates import Template

BY_FIELD = Shared(Template.parse("events"), ("tenant_id",))


def test_a_member_is_the_tenants_by_its_own_text_matched_anchored() -> None:
    rule = Shared(Template.parse("online"), owner=Template.parse("{tenant}:*")).resolve("online", "1", {})
    assert rule.owns(b"1:alice")
    assert not any(rule.owns(one) for one in (b"12:alice", b"x1:alice", b"1", b"", b"\xff"))


@pytest.mark.parametrize(
    "member",
    [{"tenant_id": "1"}, {"tenant_id": b"1"}, b'{"tenant_id": "1"}', '{"tenant_id": 1}', {"tenant_id": 1.0}],
)
def test_a_field_is_found_in_a_mapping_or_in_json(member: object) -> None:
    owns = BY_FIELD.resolve("events", "1", {}).owns(member)
    assert owns is (member != {"tenant_id": 1.0})


@pytest.mark.parametrize(
    "member",
    [b"", b"{", b"[]", b"null", b'{"tenant_id": true}', b'{"tenant_id": ["1"]}', "[" * 100_000, {}, 7],
)
def test_what_has_no_such_field_is_nobodys(member: object) -> None:
    assert not BY_FIELD.resolve("events", "1", {}).owns(member)


def test_the_arguments_of_a_queued_task_are_found_inside_base64() -> None:
    body = base64.b64encode(json.dumps([[], {"tenant_id": "1"}, {}]).encode()).decode()
    assert text_at(json.dumps({"body": body}), ("body", "1", "tenant_id")) == "1"
    assert text_at(json.dumps({"body": body}), ("body", "9", "tenant_id")) is None


def test_an_owner_may_be_one_of_the_tenants_ids() -> None:
    rule = Shared(Template.parse("jobs"), ("set",), Template.parse("ds-{dataset}"))
    ids = TenantIds({"dataset": frozenset({"a", "b"})})
    (resolved,) = KeyMap(shared={"jobs": rule}).resolve_shared("1", ids)
    assert resolved.owns({"set": "ds-a"}) and not resolved.owns({"set": "ds-c"})
    assert KeyMap(shared={"jobs": rule}).id_sets() == {"dataset"}


def test_a_shared_container_is_mentioned_and_no_familys() -> None:
    rules = KeyMap(shared={"events": BY_FIELD})
    assert rules.mentions("events") and not rules.mentions("events2")
    assert rules.resolve("1", TenantIds()).family_of("events") is None
