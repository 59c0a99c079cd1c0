"""The section ``backups`` of ``lifecycle.yaml``: where the repository and its mirror are, keys, policies by tier.

::

    backups:
      repository: {folder: backups, key: {file: keys/backups.key}}
      mirror: {s3: s3://bucket/prefix, region: eu-west-1, key: {kms: alias/backups, region: eu-west-1}}
      tiers: {gold: {pitr: 30d}, silver: {like: gold, rpo: 60s}}
      restore: {four_eyes: true, window: 1h, preview: 7d}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenant_lifecycle.evidence_file import KeyConfig, read_key
from tenant_lifecycle.model.backup.policy import (
    TIERS,
    BackupPolicies,
    BackupPolicy,
    CarePolicy,
    RestorePolicy,
)
from tenant_lifecycle.yaml_file import Node

#: How a bucket is reached, as for stores of kind ``s3``.
_S3_SETTINGS = frozenset({"endpoint", "region", "access_key", "secret_key", "profile", "storage_class"})
_PLACES = ("folder", "s3")


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """One copy of the repository: where it is, and what wraps the tenants' keys there."""

    #: Of a folder; None: it is in a bucket.
    folder: Path | None
    #: Of S3; "" with a folder.
    bucket: str
    #: Without slashes around it; "": the whole bucket.
    prefix: str
    key: KeyConfig
    #: Endpoint, region, credentials, ``storage_class``: what the file gives.
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """For people: the path, or ``s3://bucket/prefix``."""
        return str(self.folder) if self.folder is not None else f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class BackupsConfig:
    """The whole section."""

    #: None: there are no backups.
    repository: RepositoryConfig | None = None
    #: The second region's copy; None: there is none.
    mirror: RepositoryConfig | None = None
    policies: BackupPolicies = field(default_factory=BackupPolicies)


def read_backups(node: Node | None, folder: Path) -> BackupsConfig:
    """Read the section; paths are relative to ``folder``.

    Raises:
        ConfigError: with file and line.
    """
    if node is None:
        return BackupsConfig()
    given = node.mapping(BACKUPS_KEYS, required=("repository",))
    places = {key: _place(given[key], folder) for key in ("repository", "mirror") if key in given}
    if "mirror" in places and places["mirror"].place == places["repository"].place:
        raise given["mirror"].error("the mirror is the repository itself; a copy has to be somewhere else")
    return BackupsConfig(places["repository"], places.get("mirror"), _policies(given, "mirror" in places))


BACKUPS_KEYS = frozenset(
    {"repository", "mirror", "tiers", "default_tier", "grace", "verify_within", "change_rest", "restore"}
)


def _place(node: Node, folder: Path) -> RepositoryConfig:
    given = node.mapping({*_PLACES, "key", *_S3_SETTINGS}, required=("key",))
    where = [place for place in _PLACES if place in given]
    if len(where) != 1:
        raise node.error("a repository is in one place: folder or s3")
    key = read_key(given["key"], folder)
    settings = {name: given[name].text() for name in sorted(_S3_SETTINGS & given.keys())}
    if where == ["folder"]:
        if settings:
            raise given[next(iter(settings))].error(f"{next(iter(settings))} belongs to s3, not to a folder")
        return RepositoryConfig(folder / given["folder"].text(), "", "", key)
    bucket, prefix = _address(given["s3"])
    return RepositoryConfig(None, bucket, prefix, key, settings)


def _address(node: Node) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``."""
    parts = urlsplit(node.text())
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise node.error("write the address as s3://bucket/prefix; credentials are keys of their own")
    return parts.netloc, parts.path.strip("/")


def _policies(given: Mapping[str, Node], mirrored: bool) -> BackupPolicies:
    tiers = dict(TIERS)
    for name, node in (given["tiers"].mapping() if "tiers" in given else {}).items():
        tiers[name] = _tier(name, node, tiers)
        if tiers[name].cross_region and not mirrored:
            raise node.error("cross_region needs a mirror; write backups.mirror, or cross_region: false")
    policies = BackupPolicies(tiers, care=_care(given), restore=_restore(given.get("restore")))
    if "default_tier" in given:
        return replace(policies, default_tier=given["default_tier"].choice(list(tiers)))
    return policies


def _care(given: Mapping[str, Node]) -> CarePolicy:
    durations = {"grace": "grace_s", "verify_within": "verify_within_s", "change_rest": "change_rest_s"}
    changes = {name: given[key].seconds(positive=True) for key, name in durations.items() if key in given}
    return replace(CarePolicy(), **changes)


def _restore(node: Node | None) -> RestorePolicy:
    given = node.mapping(RESTORE_KEYS) if node is not None else {}
    changes: dict[str, Any] = {
        f"{name}_s": given[name].seconds(positive=True) for name in ("window", "preview") if name in given
    }
    if "four_eyes" in given:
        changes["four_eyes"] = given["four_eyes"].boolean()
    return replace(RestorePolicy(), **changes)


RESTORE_KEYS = frozenset({"four_eyes", "window", "preview"})


def _tier(name: str, node: Node, known: Mapping[str, BackupPolicy]) -> BackupPolicy:
    given = node.mapping({"like", *TIER_KEYS})
    if "like" not in given and name not in known:
        raise node.error(f"the tier {name!r} is new: say which it is like", next_step="like: gold")
    base = known[given.pop("like").choice(list(known))] if "like" in given else known[name]
    policy = replace(base, **{_KEYS[key][0]: _KEYS[key][1](value) for key, value in given.items()})
    for sentence in policy.contradictions():
        raise node.error(sentence)
    return policy


def _positive(node: Node) -> float:
    return node.seconds(positive=True)


def _count(node: Node) -> int:
    return node.integer(minimum=0)


#: Key of a tier -> field of `BackupPolicy` and how it is read; a test asserts that every field is here.
_KEYS: Mapping[str, tuple[str, Callable[[Node], Any]]] = {
    "every": ("every_s", _positive),
    "full_every": ("full_every_s", _positive),
    "keep": ("keep_s", _positive),
    "daily": ("daily", _count),
    "weekly": ("weekly", _count),
    "monthly": ("monthly", _count),
    "pitr": ("pitr_s", _positive),
    "rpo": ("rpo_s", _positive),
    "least_bases": ("least_bases", lambda node: node.integer(minimum=1)),
    "cross_region": ("cross_region", lambda node: node.boolean()),
    "drill_every": ("drill_every_s", _positive),
    "cold_after": ("cold_after_s", lambda node: None if node.is_null else node.seconds(positive=True)),
}
TIER_KEYS = frozenset(_KEYS)
