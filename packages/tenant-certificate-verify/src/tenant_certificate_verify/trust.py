"""The trust policy: whose signatures count. It is the customer's own file; nothing in a bundle changes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tenant_certificate_verify import schema
from tenant_certificate_verify.strict import Invalid, from_base64, parse
from tenant_certificate_verify.times import time_of

ROLES = {"performer", "verifier", "officer"}
ALGORITHMS = {"ed25519", "ecdsa-p256-sha256"}
#: Roles without which no policy accepts anything.
ALWAYS = {"performer", "verifier"}


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that counts, for one role, in a time."""

    role: str
    algorithm: str
    spki: bytes
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None

    @property
    def keyid(self) -> str:
        return hashlib.sha256(self.spki).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature is this key's; the algorithm is the policy's, not the signature's."""
        key = serialization.load_der_public_key(self.spki)
        try:
            if self.algorithm == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
                return True
            if self.algorithm == "ecdsa-p256-sha256" and isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
                return True
        except InvalidSignature:
            return False
        return False

    def counts_at(self, time: datetime) -> bool:
        """Whether the key was valid and not revoked then."""
        revoked = self.revoked_at is not None and time >= self.revoked_at
        return self.valid_from <= time <= self.valid_until and not revoked


@dataclass(frozen=True, slots=True)
class Policy:
    """What a customer trusts."""

    keys: tuple[TrustedKey, ...]
    required_roles: frozenset[str]
    log_origin: str
    log_keys: tuple[TrustedKey, ...]
    revoked_certificates: frozenset[str]
    #: Seconds that may pass between issuing a certificate and its entry in the log.
    max_log_delay_s: int
    #: People other than each other who have to have approved the plan.
    min_approvals: int
    #: Roots of time-stamping authorities, DER; empty: no time-stamp is asked for.
    tsa_roots: tuple[bytes, ...]


_KEY = {
    "role": ROLES | {"log"},
    "algorithm": ALGORITHMS,
    "public_key": str,
    "valid_from": schema.time,
    "valid_until": schema.time,
    "revoked_at": (schema.time, None),
}
_POLICY = {
    "version": schema.one,
    "keys": [_KEY],
    "required_roles": [ROLES],
    "log_origin": schema.word,
    "revoked_certificates": [schema.word],
    "max_log_delay_s": int,
    "min_approvals": int,
    "tsa_roots": [str],
}


def read(data: bytes) -> Policy:
    """Read a policy.

    Raises:
        Invalid: it is not one, or trusts nobody.
    """
    given = parse(data, "policy")
    schema.check(given, _POLICY, "policy")
    keys = tuple(_key(one, f"policy.keys[{number}]") for number, one in enumerate(given["keys"]))
    required = frozenset(given["required_roles"]) | ALWAYS
    if len({key.keyid for key in keys}) != len(keys):
        raise Invalid("policy.keys: one key stands there twice; a key has one role")
    missing = sorted((required | {"log"}) - {key.role for key in keys})
    if missing:
        raise Invalid(f"policy.keys: no key for {', '.join(missing)}")
    return Policy(
        keys=tuple(key for key in keys if key.role != "log"),
        required_roles=required,
        log_origin=given["log_origin"],
        log_keys=tuple(key for key in keys if key.role == "log"),
        revoked_certificates=frozenset(given["revoked_certificates"]),
        max_log_delay_s=given["max_log_delay_s"],
        min_approvals=given["min_approvals"],
        tsa_roots=tuple(from_base64(one, "policy.tsa_roots") for one in given["tsa_roots"]),
    )


def _key(given: dict[str, Any], what: str) -> TrustedKey:
    spki = from_base64(given["public_key"], f"{what}.public_key")
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"{what}.public_key: no key") from error
    curve = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    fits = {"ed25519": isinstance(key, ed25519.Ed25519PublicKey), "ecdsa-p256-sha256": curve}
    if not fits[given["algorithm"]]:
        raise Invalid(f"{what}.algorithm: the key is of another kind")
    revoked = given["revoked_at"]
    return TrustedKey(
        given["role"],
        given["algorithm"],
        spki,
        time_of(given["valid_from"], what),
        time_of(given["valid_until"], what),
        None if revoked is None else time_of(revoked, what),
    )
