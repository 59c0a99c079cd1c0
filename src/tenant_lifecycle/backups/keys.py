"""A tenant's keys: random, by epoch, wrapped by a key that lives elsewhere, and destroyed by deleting the wraps.

What is wrapped are 64 bytes: the epoch's key, and a secret that stays the same over all epochs of a tenant. Subkeys
come from them by HKDF: ``data``, ``id`` and ``cut`` from the epoch's key, ``fp`` from the secret. A new epoch is
for new objects; nothing is rewritten. An epoch that was shredded stays so, even if somebody brings its wrap back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.backups.naming import Directory
from tenant_lifecycle.errors import ConfigError, KeyUnavailable, RepositoryDamaged, RepositoryRejected

KEY_BYTES = 32
_WRAP_NAME = re.compile(r"keys/(\d{8})\.(wrap|shredded)$")
_SAID = frozenset({"by", "directory", "epoch", "repository", "wrapped"})
_BRING_BACK = "bring it back from the other region"
_MAKE = "put the repository's key there; for a new repository make one: head -c 32 /dev/urandom | base64"


class Tampered(Exception):
    """A wrapped key is not what this wrapping key has wrapped in that context."""


class KeyWrapping(Protocol):
    """A key that wraps others; where it lives is its own business."""

    #: Names the wrapping key, without telling it.
    id: str

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """The secret, encrypted and bound to the context. Raises `RepositoryError`."""

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The secret. Raises `Tampered`, or a `RepositoryError` if the wrapping key cannot be used."""


class LocalWrapping:
    """A key of 256 bits in this process's memory: from a file or an environment variable."""

    def __init__(self, key: bytes) -> None:
        self.id = "local:" + hashlib.sha256(b"tenant-lifecycle wrapping key" + key).hexdigest()[:32]
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> LocalWrapping:
        """The key (base64 or hex of 32 bytes) in a file that nobody else may read.

        Raises:
            ConfigError: no such file, one that others may read, or no key.
        """
        try:
            mode, text = path.stat().st_mode, path.read_bytes()
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}", next_step=_MAKE) from exc
        if mode & 0o077:
            raise ConfigError(f"{path}: other users may read this key", next_step=f"chmod 600 {path}")
        return cls(_key_of(text.decode("ascii", "replace"), str(path)))

    @classmethod
    def from_environment(cls, variable: str, environ: Mapping[str, str]) -> LocalWrapping:
        """The key that a variable holds.

        Raises:
            ConfigError: the variable is not set, or holds no key.
        """
        if variable not in environ:
            raise ConfigError(f"the environment variable {variable} is not set", next_step=_MAKE)
        return cls(_key_of(environ[variable], f"environment variable {variable}"))

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, secret, canonical(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], canonical(context))
        except (InvalidTag, ValueError) as exc:
            raise Tampered from exc


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one wrap holds."""

    key: bytes = field(repr=False)
    secret: bytes = field(repr=False)


class KeyRing:
    """The keys of one directory. Keeps in memory what it has unwrapped."""

    def __init__(
        self, storage: Storage, directory: Directory, repository: bytes, wrapping: KeyWrapping
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._repository = repository
        self._wrapping = wrapping
        self._known: dict[int, Secrets] = {}
        self._current: int | None = None

    def create(self) -> None:
        """Make the first epoch if there is none, or if every one was shredded; two that do it at once share one."""
        wraps, shredded = _listed(self._storage, self._directory)
        if not wraps - shredded:
            # By what was listed once: who is slower has to find the name taken, and not to take the next.
            self._add(max(shredded, default=0) + 1, os.urandom(KEY_BYTES))

    def rotate(self) -> int:
        """A new epoch for new objects; its number. The old ones stay for the old objects."""
        secret = self._secrets(self.current()).secret
        wraps, shredded = _listed(self._storage, self._directory)
        return self._add(max(wraps | shredded) + 1, secret)

    def epochs(self) -> list[int]:
        """Those that can be unwrapped, as the repository says now."""
        wraps, shredded = _listed(self._storage, self._directory)
        return sorted(wraps - shredded)

    def current(self) -> int:
        """The newest epoch.

        Raises:
            KeyUnavailable: there is none.
        """
        if self._current is None:
            epochs = self.epochs()
            if not epochs:
                raise self._unavailable("has no key")
            self._current = epochs[-1]
        return self._current

    def forget(self) -> None:
        """Ask the repository again; what was shredded meanwhile is not known any more."""
        self._known.clear()
        self._current = None

    def data(self, epoch: int) -> bytes:
        """The key that object keys come from."""
        return self.subkey("data", epoch)

    def subkey(self, purpose: str, epoch: int | None = None) -> bytes:
        """32 bytes for this purpose, of this epoch or the newest."""
        return _derived(self._secrets(self.current() if epoch is None else epoch).key, purpose)

    def lasting(self, purpose: str) -> bytes:
        """32 bytes for this purpose, the same in every epoch."""
        return _derived(self._secrets(self.current()).secret, purpose)

    def copy_to(self, other: KeyRing) -> int:
        """Wrap every epoch for another place with that place's wrapping key; how many were new there."""
        return sum(other._put(epoch, self._secrets(epoch)) for epoch in self.epochs())

    def _add(self, epoch: int, secret: bytes) -> int:
        # If another process was quicker, its key is as good.
        self._put(epoch, Secrets(os.urandom(KEY_BYTES), secret))
        self._current = epoch
        return epoch

    def _put(self, epoch: int, secrets: Secrets) -> bool:
        context = self._context(epoch)
        wrapped = self._wrapping.wrap(secrets.key + secrets.secret, context)
        said = {
            **context,
            "by": self._wrapping.id,
            "format": 1,
            "wrapped": base64.b64encode(wrapped).decode(),
        }
        return self._storage.put(self._directory.key(epoch), canonical(said))

    def _secrets(self, epoch: int) -> Secrets:
        if epoch not in self._known:
            self._known[epoch] = self._unwrapped(epoch)
        return self._known[epoch]

    def _unwrapped(self, epoch: int) -> Secrets:
        wraps, shredded = _listed(self._storage, self._directory)
        if epoch in shredded:
            raise self._unavailable(
                f"had its key of epoch {epoch} destroyed; what it sealed is gone for good"
            )
        if epoch not in wraps:
            raise self._unavailable(
                f"has no key of epoch {epoch}", "bring keys/ back from the other region, if there is one"
            )
        name = self._directory.key(epoch)
        said = read_wrap(name, self._storage.get(name))
        if said["by"] != self._wrapping.id:
            raise self._unavailable(
                f"has its key of epoch {epoch} wrapped by {said['by']}, and not by {self._wrapping.id}",
                "give the key file, variable or KMS key that it was made with",
            )
        context = self._context(epoch)
        try:
            plain = self._wrapping.unwrap(base64.b64decode(said["wrapped"]), context)
        except Tampered as exc:
            raise _elsewhere(name) from exc
        if {**said, **context} != said or len(plain) != 2 * KEY_BYTES:
            raise _elsewhere(name)
        return Secrets(plain[:KEY_BYTES], plain[KEY_BYTES:])

    def _context(self, epoch: int) -> dict[str, str]:
        return {
            "directory": self._directory.path or "repository",
            "epoch": str(epoch),
            "repository": self._repository.hex(),
        }

    def _unavailable(self, why: str, next_step: str = "") -> KeyUnavailable:
        who = self._directory.path or "the repository"
        return KeyUnavailable(f"{who} {why}", where=self._storage.where, next_step=next_step)


def read_wrap(name: str, data: bytes) -> Mapping[str, str]:
    """What a wrap says of itself: ``by`` which key, ``wrapped`` in base64, ``directory``, ``epoch``, ``repository``.

    Needs no key; whether it is true shows when it is unwrapped.

    Raises:
        RepositoryDamaged: it is not in the form that was written.
    """
    try:
        said = json.loads(data)
        good = canonical(said) == data and said.pop("format") == 1 and set(said) == _SAID
        wrapped = base64.b64decode(said["wrapped"], validate=True)
        good = good and base64.b64encode(wrapped).decode() == said["wrapped"]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RepositoryDamaged(f"{name}: is no wrapped key", next_step=_BRING_BACK) from exc
    if not good or not all(isinstance(one, str) for one in said.values()):
        raise RepositoryDamaged(f"{name}: is no wrapped key", next_step=_BRING_BACK)
    return dict(said)


def shred(storages: Sequence[Storage], directory: Directory) -> Mapping[str, int]:
    """Destroy every key of a tenant in every place; how many wraps were there, by place. Safe to repeat.

    Afterwards nothing that they sealed can be opened by anybody. Each epoch leaves a mark, which counts more than
    a wrap that comes back.

    Raises:
        RepositoryRejected: a wrap is still there.
    """
    known = set[int]().union(*(set().union(*_listed(storage, directory)) for storage in storages))
    done = {}
    for storage in storages:
        wraps, _ = _listed(storage, directory)
        for epoch in sorted(known):
            storage.put(directory.shredded(epoch), shredded_mark(epoch))
        for epoch in sorted(wraps):
            storage.delete(directory.key(epoch))
        done[storage.where] = len(wraps)
        if _listed(storage, directory)[0]:
            raise RepositoryRejected(
                f"{directory.path}: a wrapped key is still there after it was deleted", where=storage.where,
                next_step="end what writes keys there, see whether the storage deletes, and shred again",
            )  # fmt: skip
    return done


def shredded_mark(epoch: int) -> bytes:
    """What stands in the mark of a shredded epoch."""
    return canonical({"epoch": str(epoch), "format": 1, "shredded": True})


def canonical(value: Mapping[str, object]) -> bytes:
    """JSON with sorted keys and no spaces, in UTF-8: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _elsewhere(name: str) -> RepositoryDamaged:
    return RepositoryDamaged(f"{name}: was changed, or belongs elsewhere", next_step=_BRING_BACK)


def _listed(storage: Storage, directory: Directory) -> tuple[set[int], set[int]]:
    found: dict[str, set[int]] = {"wrap": set(), "shredded": set()}
    for name, _, _ in storage.names(directory.below("keys/")):
        if match := _WRAP_NAME.search(name):
            found[match[2]].add(int(match[1]))
    return found["wrap"], found["shredded"]


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, None, b"tenant-lifecycle " + purpose.encode()).derive(key)


def _key_of(text: str, where: str) -> bytes:
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise ConfigError(f"{where}: there is neither base64 nor hex", next_step=_MAKE) from exc
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where}: the key has {len(key)} bytes, and needs {KEY_BYTES}", next_step=_MAKE)
    return key
