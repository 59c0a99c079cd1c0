"""The section ``erasure`` of lifecycle.yaml: every field can be set, every mistake is named with its line."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tenant_lifecycle.erasure_file import _KEYS, read_erasure
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.yaml_file import parse


def read(text: str) -> ErasurePolicy:
    return read_erasure(parse(text, "lifecycle.yaml"))


def test_every_field_of_the_policy_can_be_set_in_the_file() -> None:
    assert {field for field, _ in _KEYS.values()} == {one.name for one in fields(ErasurePolicy)}


def test_what_is_not_said_has_the_careful_default() -> None:
    policy = read("cooling_off: 48h")
    assert policy.cooling_off_s == 48 * 3600
    assert policy.approvals == 2 and policy.rescans_s == (86400.0, 7 * 86400.0, 30 * 86400.0)
    assert policy.required_of("s3") is Level.EXHAUSTIVE and policy.required_of("other") is Level.LOGICAL


def test_a_retention_rule_keeps_its_set_until_the_end_of_its_day() -> None:
    rule = (
        "retention:\n- {store: postgres, set: public.invoices, ground: art-17-3-b, "
        "until: '2030-12-31', why: tax}"
    )
    policy = read(rule)
    (kept,) = policy.retention
    assert policy.kept("blue/postgres", "public.invoices", kept.until - 1) is kept
    assert policy.kept("blue/postgres", "public.invoices", kept.until) is None
    assert policy.kept("blue/postgres", "public.invoices2", 0.0) is None
    assert policy.kept("blue/postgres2", "public.invoices", 0.0) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("approvals: 0", "too small"),
        ("aprovals: 2", "did you mean 'approvals'"),
        ("rescans: [7d, 1d]", "order of time"),
        ("required: {s3: VV}", "not a valid choice"),
        ("retention: [{store: postgres}]", "is missing"),
        (
            "retention: [{store: a, set: b, ground: art-17-3-b, until: 'soon', why: tax}]",
            "no date",
        ),
        ("tolerance: 2", "too large"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        read(text)
    assert "lifecycle.yaml:1" in str(error.value)
