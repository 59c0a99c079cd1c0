"""Keys that sign, by role, and their public halves.

Two algorithms: Ed25519 (files and environment variables) and ECDSA P-256 with SHA-256 (what a KMS without Ed25519
has). A signature says nothing about its key's algorithm; who checks takes it from the key that he pinned.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tenant_lifecycle.errors import ConfigError


class Role(StrEnum):
    """What a key speaks for. One key has one role."""

    #: The service that erases: signs what it did.
    PERFORMER = "performer"
    #: The independent verifier: signs what it found.
    VERIFIER = "verifier"
    #: A person who confirms, optionally.
    OFFICER = "officer"
    #: The audit log: signs its heads, never a certificate.
    LOG = "log"


class Algorithm(StrEnum):
    """How a key signs."""

    ED25519 = "ed25519"
    #: Over SHA-256; signatures are DER.
    ECDSA_P256 = "ecdsa-p256-sha256"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What others need to check a signature."""

    algorithm: Algorithm
    #: SubjectPublicKeyInfo, DER.
    spki: bytes = field(repr=False)

    @property
    def keyid(self) -> str:
        """SHA-256 of the key, hex: a name for it, never a reason to trust it."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def base64(self) -> str:
        """As trust policies hold it."""
        return base64.b64encode(self.spki).decode()

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key; of another, its SPKI."""
        return self.spki[-32:] if self.algorithm is Algorithm.ED25519 else self.spki

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature is this key's over the message."""
        key = serialization.load_der_public_key(self.spki)
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """A key that can sign; where it lives is its own business."""

    @property
    def role(self) -> Role:
        """What it speaks for."""

    @property
    def public(self) -> PublicKey:
        """Its public half."""

    def sign(self, message: bytes) -> bytes:
        """The signature over the message.

        Raises:
            StoreError: the place where the key lives does not answer, or refuses.
        """


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """An Ed25519 key in this process's memory."""

    role: Role
    _key: ed25519.Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, role: Role) -> LocalSigner:
        """A new key."""
        return cls(role, ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, role: Role, pem: bytes, where: str) -> LocalSigner:
        """The key of a PEM text (PKCS #8, without a password); ``where`` is what errors call it.

        Raises:
            ConfigError: it is no Ed25519 private key.
        """
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"{where}: no private key in PEM can be read there", next_step=_MAKE) from exc
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ConfigError(f"{where}: the key is no Ed25519 key", next_step=_MAKE)
        return cls(role, key)

    @classmethod
    def from_file(cls, role: Role, path: Path) -> LocalSigner:
        """The key of a file that nobody else may read.

        Raises:
            ConfigError: no such file, one that others may read, or no key.
        """
        try:
            mode, pem = path.stat().st_mode, path.read_bytes()
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}", next_step=_MAKE) from exc
        if mode & 0o077:
            raise ConfigError(f"{path}: other users may read this key", next_step=f"chmod 600 {path}")
        return cls.from_pem(role, pem, str(path))

    @classmethod
    def from_environment(cls, role: Role, variable: str, environ: Mapping[str, str]) -> LocalSigner:
        """The key whose PEM text a variable holds.

        Raises:
            ConfigError: the variable is not set, or holds no key.
        """
        if variable not in environ:
            raise ConfigError(f"the environment variable {variable} is not set", next_step=_MAKE)
        return cls.from_pem(role, environ[variable].encode(), f"environment variable {variable}")

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        spki = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return PublicKey(Algorithm.ED25519, spki)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)

    def write(self, path: Path) -> None:
        """Write the key to a new file that only this user may read.

        Raises:
            FileExistsError: something is there; a key is never overwritten.
        """
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)


_MAKE = "tenantctl audit new-key FILE makes one"
