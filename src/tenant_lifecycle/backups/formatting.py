"""The object FORMAT: which repository this is, who signs in it, and what a reader has to understand."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.keys import canonical
from tenant_lifecycle.backups.manifests import RepositorySigner, verifies
from tenant_lifecycle.backups.naming import FORMAT
from tenant_lifecycle.errors import RepositoryDamaged, RepositoryRejected

MAGIC = "tenant-lifecycle repository"
VERSION = 1
#: Features that change what a reader has to do, and that this version knows.
KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Format:
    """What FORMAT says; needs no key to be read."""

    #: 16 random bytes.
    repository: bytes
    #: The repository's public key, Ed25519, 32 bytes.
    public: bytes


def encode_format(repository: bytes, signer: RepositorySigner) -> bytes:
    """FORMAT of a new repository; the same bytes whoever makes it."""
    said: dict[str, object] = {
        "magic": MAGIC, "version": VERSION, "repository": repository.hex(), "public": signer.public.hex(),
        "features": {"compat": [], "incompat": []},
    }  # fmt: skip
    return canonical({**said, "signature": signer.sign(canonical(said)).hex()}) + b"\n"


def read_format(storage: Storage) -> Format:
    """What kind of repository is there.

    Raises:
        RepositoryRejected: there is none, or one of a newer kind.
        RepositoryDamaged: FORMAT was changed.
    """
    if not any(name == FORMAT for name, _, _ in storage.names(FORMAT)):
        raise RepositoryRejected(
            f"{storage.where}: there is no repository", where=storage.where,
            next_step="correct where the repository is; the first backup makes a new one",
        )  # fmt: skip
    return decode_format(storage.get(FORMAT), storage.where)


def decode_format(data: bytes, where: str) -> Format:
    """What FORMAT's bytes say; the same errors as `read_format`."""
    try:
        said = json.loads(data)
        if said["magic"] != MAGIC:
            raise ValueError(MAGIC)
        if said["version"] != VERSION or set(said["features"]["incompat"]) - KNOWN_FEATURES:
            raise RepositoryRejected(
                f"{where}: the repository is of a kind that this version cannot read", where=where,
                next_step="use a newer version of tenant-lifecycle",
            )  # fmt: skip
        found = Format(bytes.fromhex(said["repository"]), bytes.fromhex(said["public"]))
        signature = bytes.fromhex(said.pop("signature"))
        good = canonical({**said, "signature": signature.hex()}) + b"\n" == data
        good = good and verifies(found.public, signature, canonical(said))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _changed() from exc
    if not good or len(found.repository) != 16:
        raise _changed()
    return found


def _changed() -> RepositoryDamaged:
    return RepositoryDamaged(
        f"{FORMAT}: is not what was written", next_step="bring it back from the other region"
    )
