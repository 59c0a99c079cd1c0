"""Keys and the audit log of one installation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.evidence.dsse import envelope
from tenant_lifecycle.evidence.keys import LocalSigner, Role, Signer
from tenant_lifecycle.evidence_file import EvidenceConfig, KeyConfig


def open_signer(role: Role, config: EvidenceConfig, environ: Mapping[str, str] = os.environ) -> Signer:
    """The key of a role.

    Raises:
        ConfigError: none is configured, or it is no key.
        StoreError: KMS does not answer, or refuses.
    """
    key = config.keys.get(role.value)
    if key is None:
        raise ConfigError(
            f"no key for the role {role.value}",
            next_step=f"name one in lifecycle.yaml under evidence.keys.{role.value}",
        )
    if key.place == "file":
        return LocalSigner.from_file(role, Path(key.name))
    if key.place == "environment":
        return LocalSigner.from_environment(role, key.name, environ)
    return _kms(role, key)


def signing_with(role: Role, config: EvidenceConfig) -> Callable[[str, bytes], bytes] | None:
    """What puts a payload of a type into an envelope that the role's key signs; None: it has no key.

    Raises:
        ConfigError, StoreError: as `open_signer`.
    """
    if role.value not in config.keys:
        return None
    signer = open_signer(role, config)
    return lambda kind, payload: envelope(kind, payload, [signer])


def open_audit_log(db: ControlDatabase, config: EvidenceConfig) -> AuditLog:
    """The log; without a key for it, one that signs nothing.

    Raises:
        ConfigError, StoreError: as `open_signer`.
    """
    signer = open_signer(Role.LOG, config) if Role.LOG.value in config.keys else None
    return AuditLog(db, config.origin, signer)


def _kms(role: Role, key: KeyConfig) -> Signer:
    # Imported late: boto3 takes half a second, which nobody without KMS has to wait.
    import boto3

    from tenant_lifecycle.evidence.kms import KmsSigner

    given = {"region_name": key.region, "endpoint_url": key.endpoint}
    client = boto3.client("kms", **{name: value for name, value in given.items() if value})
    return KmsSigner(role, key.name, client)
