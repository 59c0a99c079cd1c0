"""The DSSE envelope: who signed, checked over the exact bytes before anything in them is read."""

from __future__ import annotations

from dataclasses import dataclass

from tenant_certificate_verify import schema
from tenant_certificate_verify.strict import Invalid, Untrusted, from_base64, parse
from tenant_certificate_verify.trust import Policy, TrustedKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST_SIGNATURES = 16
_FORM = {
    "payloadType": {PAYLOAD_TYPE},
    "payload": str,
    "signatures": [{"keyid": schema.digest, "sig": str}],
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload, and the trusted keys that signed it, one per role."""

    payload: bytes
    keys: tuple[TrustedKey, ...]


def open_envelope(data: bytes, policy: Policy) -> Signed:
    """What is signed, and by whom.

    Raises:
        Invalid: no envelope, a wrong or repeated signature, or too few of them.
        Untrusted: keys that the policy does not know signed instead of those that have to.
    """
    given = parse(data, "envelope")
    if not isinstance(given.get("payload"), str):
        raise Invalid("envelope: no payload")
    # The payload is long; its form is checked as what it is.
    schema.check({**given, "payload": ""}, _FORM, "envelope")
    payload = from_base64(given["payload"], "envelope.payload")
    signatures = given["signatures"]
    if len(signatures) > _MOST_SIGNATURES:
        raise Invalid("envelope: too many signatures")
    ids = [one["keyid"] for one in signatures]
    if len(set(ids)) != len(ids):
        raise Invalid("envelope: one signer signs twice")
    trusted = {key.keyid: key for key in policy.keys}
    found = []
    for one in signatures:
        key = trusted.get(one["keyid"])
        signature = from_base64(one["sig"], "envelope: signature")
        if key is None:
            continue
        if not key.verifies(signature, pae(payload)):
            raise Invalid(f"envelope: the {key.role}'s signature is wrong")
        found.append(key)
    _refuse_missing_roles(found, len(signatures), policy)
    return Signed(payload, tuple(found))


def pae(payload: bytes) -> bytes:
    """The bytes that are signed."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _refuse_missing_roles(found: list[TrustedKey], signatures: int, policy: Policy) -> None:
    missing = sorted(policy.required_roles - {key.role for key in found})
    if not missing:
        return
    if signatures > len(found):
        raise Untrusted(
            f"envelope: signed by keys that the policy does not know; missing: {', '.join(missing)}"
        )
    raise Invalid(f"envelope: not signed by {', '.join(missing)}")
