"""The section ``evidence`` of ``lifecycle.yaml``: the audit log's name, who signs, and who issues certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenant_lifecycle.yaml_file import Node

#: The log's name where the file gives none. Two installations need two names.
DEFAULT_ORIGIN = "tenant-lifecycle.local/audit"
ROLES = ("performer", "verifier", "officer", "log")
_PLACES = ("file", "environment", "kms")


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """Where a key is."""

    #: ``file``, ``environment`` or ``kms``.
    place: str
    #: Path, variable, or the KMS key's id, ARN or alias.
    name: str
    #: Of KMS; "": what the machine is set up for.
    region: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Who certifies, as it stands in certificates."""

    legal_name: str
    role: str
    contact: str
    dpo_contact: str = ""
    trust_policy_uri: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceConfig:
    """The whole section."""

    origin: str = DEFAULT_ORIGIN
    #: By role; one without a key cannot sign.
    keys: Mapping[str, KeyConfig] = field(default_factory=dict)
    #: None: no certificates can be issued.
    issuer: IssuerConfig | None = None


def read_evidence(node: Node | None, folder: Path) -> EvidenceConfig:
    """Read the section; paths are relative to ``folder``.

    Raises:
        ConfigError: with file and line.
    """
    if node is None:
        return EvidenceConfig()
    fields = node.mapping({"origin", "keys", "issuer"})
    keys = fields["keys"].mapping(set(ROLES)) if "keys" in fields else {}
    return EvidenceConfig(
        origin=_origin(fields["origin"]) if "origin" in fields else DEFAULT_ORIGIN,
        keys={role: read_key(place, folder) for role, place in keys.items()},
        issuer=_issuer(fields["issuer"]) if "issuer" in fields else None,
    )


def _origin(node: Node) -> str:
    text = node.text()
    if not text.isprintable() or "+" in text or any(map(str.isspace, text)):
        raise node.error("the log's name has no spaces and no +; example.com/audit is one")
    return text


def read_key(node: Node, folder: Path) -> KeyConfig:
    """Where one key is; its path is relative to ``folder``."""
    fields = node.mapping({*_PLACES, "region", "endpoint"})
    given = [place for place in _PLACES if place in fields]
    if len(given) != 1:
        raise node.error(f"a key is in one place: {', '.join(_PLACES)}")
    place = given[0]
    if place != "kms" and ("region" in fields or "endpoint" in fields):
        raise node.error("region and endpoint are KMS's")
    name = fields[place].text()
    return KeyConfig(
        place,
        str(folder / name) if place == "file" else name,
        fields["region"].text() if "region" in fields else "",
        fields["endpoint"].text() if "endpoint" in fields else "",
    )


def _issuer(node: Node) -> IssuerConfig:
    optional = ("dpo_contact", "trust_policy_uri")
    fields = node.mapping(
        {"legal_name", "role", "contact", *optional}, required=("legal_name", "role", "contact")
    )
    return IssuerConfig(
        legal_name=fields["legal_name"].text(),
        role=fields["role"].choice(["controller", "processor", "sub-processor"]),
        contact=fields["contact"].text(),
        **{key: fields[key].text() for key in optional if key in fields},
    )
