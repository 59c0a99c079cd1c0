"""Keys of every type, masked, in a real server under another tenant's id: what it holds is what was masked."""

from __future__ import annotations

import pytest
from redis_pair import US, Pair, fill_every_type

from keyed_backup import FINGERPRINTS, Base, base_of, preview_of
from tenant_lifecycle.masking.forms import RedisForm
from tenant_lifecycle.masking.gate import SetItems, check
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.masking_file import read_registry
from tenant_lifecycle.yaml_file import parse

_FIELDS = """{value: free_text, elements: free_text, fields: free_text, scores: structural, groups: structural, dump: binary,
          entries: {json: {"[]": {json: {id: structural, fields: free_text}}}}}"""
REGISTRY = f"""
version: 1
stores:
  redis:
    answers: {{data: metadata, names: {{key: "answer:{{tenant}}:{{answer:opaque}}"}}, fields: {_FIELDS}}}
    profile: {{data: metadata, names: {{key: "profile:{{tenant}}"}}, fields: {_FIELDS}}}
    sessions: {{data: metadata, names: {{key: "session:{{tenant}}:{{session:opaque}}"}}, fields: {_FIELDS}}}
    vectors: {{data: metadata, names: {{key: "vectors:{{tenant}}:{{keep}}"}}, fields: {_FIELDS}}}
    named: {{data: metadata, names: {{key: "named:{{tenant}}:{{keep}}"}}, fields: {_FIELDS}}}
    warm: {{data: metadata, names: {{key: "warm:{{tenant}}:{{warm:opaque}}"}}, fields: {_FIELDS}}}
"""
HOSTILE = [b"x'; DROP", b"*", b"[a-z]", b"{1}", b"a/b\n", "ü☃".encode(), b"\xff\x00\xfe", b""]


@pytest.fixture
def full(pair: Pair) -> Pair:
    fill_every_type(pair.blue)
    for name in HOSTILE:
        pair.blue.set(b"answer:1:" + name, b"mail ada@corp.example or " + name)
    pair.blue.hset("answer:1:votes", mapping={"ada@corp.example": "+49 30 901820", b"\xff": b"\xfe"})
    pair.blue.zadd("answer:1:ranks", {"ada@corp.example": 1.5, "bob@corp.example": 1.5})
    pair.blue.set("profile:1", "us")
    return pair


def test_a_masked_tenant_lies_in_a_server_as_it_was_masked(full: Pair) -> None:
    source = base_of(full.source, US)
    registry = read_registry(parse(REGISTRY, "masking.yaml", substitute=False))
    masker = Masker(
        registry, MaskingKey(b"k" * 32, US, "copy"), Target(US, "copy"), forms={"redis": RedisForm()}
    )
    for name, items in source.items():
        masker.prepare("redis", source.shapes[name], items)
    masker.ready()
    clone = Base(
        {name: list(masker.mask("redis", source.shapes[name], items)) for name, items in source.items()}
    )
    clone.shapes, clone.facts, clone.at_us = source.shapes, source.facts, source.at_us
    assert preview_of(full.target, clone, "copy").fingerprints(FINGERPRINTS) == clone.fingerprints()
    assert {name: len(items) for name, items in clone.items()} == {
        name: len(items) for name, items in source.items()
    }
    for items in clone.values():
        for item in items:
            assert b"corp.example" not in item.key + (item.cells[0] or b"") and b":1:" not in item.key
    report = check(
        masker,
        [SetItems("redis", source.shapes[name], items) for name, items in source.items()],
        [SetItems("redis", source.shapes[name], items) for name, items in clone.items()],
    )
    assert report.passed, report.document()
    leaked = [*clone["answers"], source["answers"][0]]
    report = check(
        masker,
        [SetItems("redis", source.shapes[name], items) for name, items in source.items()],
        [
            SetItems("redis", source.shapes[name], leaked if name == "answers" else items)
            for name, items in clone.items()
        ],
    )
    assert ("value", "tenant", "redis answers.key") in {
        (one.what, one.kind, one.where) for one in report.leaks
    }
