"""The section ``backups`` of lifecycle.yaml: every field can be set, every mistake is named with its line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tenant_lifecycle.backups_file import _KEYS, BackupsConfig, read_backups
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.evidence_file import KeyConfig
from tenant_lifecycle.model.backup.policy import BRONZE, GOLD, PLATINUM, TIERS, BackupPolicy
from tenant_lifecycle.yaml_file import parse

HOME = "repository: {folder: backups, key: {file: keys/backups.key}}\n"
AWAY = "mirror: {s3: s3://copies/tl, region: eu-west-1, access_key: me, secret_key: hunter2, key: {kms: alias/b}}\n"
_DAY_S = 86400.0


def read(text: str) -> BackupsConfig:
    return read_backups(parse(text, "lifecycle.yaml"), Path("/etc/tl"))


def test_without_the_section_there_are_no_backups() -> None:
    assert read_backups(None, Path("/etc/tl")).repository is None


def test_every_field_of_a_policy_can_be_set_in_the_file() -> None:
    assert {name for name, _ in _KEYS.values()} == {one.name for one in fields(BackupPolicy)}


def test_places_and_keys() -> None:
    both = read(HOME + AWAY)
    assert both.repository is not None and both.mirror is not None
    assert both.repository.folder == Path("/etc/tl/backups")
    assert both.repository.key == KeyConfig("file", "/etc/tl/keys/backups.key")
    assert (both.mirror.bucket, both.mirror.prefix) == ("copies", "tl")
    assert both.mirror.settings["region"] == "eu-west-1"
    assert both.mirror.place == "s3://copies/tl"
    assert "hunter2" not in repr(both)


def test_the_tiers_of_the_specification() -> None:
    assert read(HOME).policies.tiers == TIERS
    assert (PLATINUM.every_s, PLATINUM.keep_s, PLATINUM.cross_region) == (_DAY_S, 365 * _DAY_S, True)
    assert (GOLD.every_s, GOLD.keep_s) == (7 * _DAY_S, 90 * _DAY_S)
    assert (BRONZE.every_s, BRONZE.keep_s) == (30 * _DAY_S, 30 * _DAY_S)
    assert [tier.rpo_s for tier in TIERS.values()] == [5.0, 30.0, 60.0]
    assert [tier.pitr_s for tier in TIERS.values()] == [35 * _DAY_S, 14 * _DAY_S, 7 * _DAY_S]
    for policy in TIERS.values():
        assert policy.contradictions() == ()


def test_tiers_change_and_new_ones_are_like_others() -> None:
    tiers = "tiers: {gold: {pitr: 30d, cold_after: }, silver: {like: gold, rpo: 45s}}\ndefault_tier: silver"
    policies = read(HOME + tiers).policies
    assert policies.of("gold").pitr_s == policies.of("silver").pitr_s == 30 * _DAY_S
    assert policies.of("silver").rpo_s == 45.0
    assert policies.of("") is policies.of("nobody") is policies.of("silver")
    assert policies.of("bronze") == BRONZE


def test_how_the_repository_is_kept() -> None:
    care = read(HOME + "grace: 96h\nverify_within: 7d\nchange_rest: 14d").policies.care
    assert (care.grace_s, care.verify_within_s, care.change_rest_s) == (4 * _DAY_S, 7 * _DAY_S, 14 * _DAY_S)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mirror: {folder: copy, key: {file: k}}", "'repository' is missing"),
        (HOME + "miror: {}", "did you mean 'mirror'"),
        ("repository: {folder: a}", "'key' is missing"),
        ("repository: {key: {file: k}}", "folder or s3"),
        ("repository: {folder: a, s3: s3://b, key: {file: k}}", "folder or s3"),
        ("repository: {folder: a, region: x, key: {file: k}}", "region belongs to s3"),
        ("repository: {s3: bucket/prefix, key: {file: k}}", "s3://bucket/prefix"),
        ("repository: {s3: 's3://me:pw@bucket', key: {file: k}}", "keys of their own"),
        ("repository: {folder: a, key: {file: k, kms: b}}", "a key is in one place"),
        (HOME + "mirror: {folder: backups, key: {file: other}}", "the mirror is the repository itself"),
        (HOME + "tiers: {silver: {rpo: 5s}}", "'silver' is new"),
        (HOME + "tiers: {gold: {keeep: 5d}}", "did you mean 'keep'"),
        (HOME + "tiers: {gold: {keep: 5d}}", "pitr is longer than keep"),
        (HOME + "tiers: {gold: {least_bases: 0}}", "too small"),
        (HOME + "tiers: {gold: {every: 60d}}", "full_every is shorter"),
        (HOME + "tiers: {gold: {cold_after: 30d}}", "90 days"),
        (HOME + "tiers: {gold: {cross_region: true}}", "needs a mirror"),
        (HOME + "default_tier: silver", "not a valid choice"),
        (HOME + "grace: 0s", "longer than nothing"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        read(text)
    assert "lifecycle.yaml:" in str(error.value)
