"""Manifests: what a base consists of, sealed and signed; the base is there when its manifest is.

The signature (Ed25519, the repository's key) covers the sealed bytes with their name, so it can be checked without
any tenant's key. Each manifest names the SHA-256 of the newest one before it: one that was taken away leaves a hole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenant_lifecycle.backups.sealing import Kind, Sealer
from tenant_lifecycle.errors import RepositoryDamaged, UsageError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, SetStored, StoreBase
from tenant_lifecycle.model.backup.shape import Column, Shape
from tenant_lifecycle.model.backup.snapshot import Snapshot
from tenant_lifecycle.model.names import TenantId

SIGNATURE_BYTES = 64
_SIGNED = b"tenant-lifecycle manifest 1\0"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SetContents:
    """Where the items of a set are."""

    #: Contents that list the set's blocks, in order.
    listings: tuple[bytes, ...] = ()
    #: The same for the blocks that say which keys of the parent are gone.
    gone: tuple[bytes, ...] = ()
    #: Nothing of the parent's set counts any more.
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest with what only the repository needs."""

    manifest: Manifest
    #: By store and set; a set that is not there is the parent's, unchanged.
    contents: Mapping[tuple[str, str], SetContents]
    #: SHA-256 of the newest manifest there was when this one was written, hex; None: it was the first.
    previous: str | None


class ManifestSigner(Protocol):
    """Signs manifests, and checks them."""

    def sign(self, message: bytes) -> bytes: ...

    def verifies(self, signature: bytes, message: bytes) -> bool: ...


class RepositorySigner:
    """The repository's Ed25519 key, from 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        return verifies(self.public, signature, message)


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is this key's; nothing secret is needed."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def signed_part(name: str, data: bytes) -> tuple[bytes, bytes]:
    """The signature of a stored manifest, and the message that it has to be over."""
    sealed, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    return signature, _message(name, sealed)


def seal_manifest(sealer: Sealer, signer: ManifestSigner, name: str, stored: Stored) -> bytes:
    """The object's bytes: sealed, then signed.

    Raises:
        UsageError: facts or labels are no JSON.
    """
    try:
        text = json.dumps(_said(stored), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"base {stored.manifest.id}: its facts are no JSON: {exc}") from exc
    sealed = sealer.seal(Kind.MANIFEST, name, [text.encode()])
    return sealed + signer.sign(_message(name, sealed))


def open_manifest(sealer: Sealer, signer: ManifestSigner, name: str, data: bytes) -> Stored:
    """The manifest of an object, if it was signed by this repository under this name.

    Raises:
        RepositoryDamaged: not signed, signed by another key, changed, or of another place.
        KeyUnavailable: the tenant's key is not there.
    """
    signature, message = signed_part(name, data)
    if len(data) <= SIGNATURE_BYTES or not signer.verifies(signature, message):
        raise RepositoryDamaged(
            f"{name}: has no valid signature of this repository",
            next_step="bring it back from the other region; without one, this base does not count",
        )
    (text,) = sealer.open(Kind.MANIFEST, name, data[:-SIGNATURE_BYTES])
    said = json.loads(text)
    if said["format"] != FORMAT_VERSION:
        raise RepositoryDamaged(
            f"{name}: is of format {said['format']}, this version reads {FORMAT_VERSION}",
            next_step="read it with a newer version of tenant-lifecycle",
        )
    return _stored(said)


def _message(name: str, sealed: bytes) -> bytes:
    return _SIGNED + name.encode() + b"\0" + sealed


def _said(stored: Stored) -> dict[str, Any]:
    manifest = stored.manifest
    return {
        "format": FORMAT_VERSION,
        "previous": stored.previous,
        "id": manifest.id,
        "tenant": manifest.tenant,
        "environment": manifest.environment,
        "kind": manifest.kind.value,
        "parent": manifest.parent,
        "started_us": manifest.started_us,
        "finished_us": manifest.finished_us,
        "expires_us": manifest.expires_us,
        "tier": manifest.tier,
        "labels": dict(manifest.labels),
        "timeline": manifest.timeline,
        "tool_version": manifest.tool_version,
        "stores": {name: _said_store(stored, base) for name, base in manifest.stores.items()},
    }


def _said_store(stored: Stored, base: StoreBase) -> dict[str, Any]:
    snapshot = base.snapshot
    return {
        "at_us": base.at_us,
        "log_from": base.log_from,
        "snapshot": snapshot and {**asdict(snapshot), "running": sorted(snapshot.running)},
        "facts": dict(base.facts),
        # A list, because parents come before children.
        "sets": [_said_set(one, stored.contents.get((base.store, name))) for name, one in base.sets.items()],
    }


def _said_set(stored: SetStored, contents: SetContents | None) -> dict[str, Any]:
    return {
        "shape": asdict(stored.shape),
        "items": stored.fingerprint.items,
        "fingerprint": f"{stored.fingerprint.total:064x}",
        "raw_bytes": stored.raw_bytes,
        "stored_bytes": stored.stored_bytes,
        "contents": contents
        and {
            "listings": [one.hex() for one in contents.listings],
            "gone": [one.hex() for one in contents.gone],
            "whole": contents.whole,
        },
    }


def _stored(said: Mapping[str, Any]) -> Stored:
    contents = {
        (store, one["shape"]["set"]): _contents(one["contents"])
        for store, base in said["stores"].items()
        for one in base["sets"]
        if one["contents"]
    }
    manifest = Manifest(
        id=said["id"], tenant=TenantId(said["tenant"]), environment=said["environment"],
        kind=BaseKind(said["kind"]), parent=said["parent"],
        started_us=said["started_us"], finished_us=said["finished_us"],
        stores={name: _store(name, base) for name, base in said["stores"].items()},
        tier=said["tier"], labels=said["labels"], expires_us=said["expires_us"],
        timeline=said["timeline"], tool_version=said["tool_version"],
    )  # fmt: skip
    return Stored(manifest, contents, said["previous"])


def _contents(said: Mapping[str, Any]) -> SetContents:
    listings, gone = (tuple(bytes.fromhex(one) for one in said[name]) for name in ("listings", "gone"))
    return SetContents(listings, gone, said["whole"])


def _store(name: str, said: Mapping[str, Any]) -> StoreBase:
    snapshot = said["snapshot"]
    return StoreBase(
        store=name,
        at_us=said["at_us"],
        log_from=said["log_from"],
        snapshot=snapshot and Snapshot(**{**snapshot, "running": frozenset(snapshot["running"])}),
        sets={one["shape"]["set"]: _set(one) for one in said["sets"]},
        facts=said["facts"],
    )


def _set(said: Mapping[str, Any]) -> SetStored:
    shape = said["shape"]
    return SetStored(
        Shape(shape["set"], tuple(Column(**one) for one in shape["columns"]), tuple(shape["key"])),
        Fingerprint(said["items"], int(said["fingerprint"], 16)),
        said["raw_bytes"],
        said["stored_bytes"],
    )
