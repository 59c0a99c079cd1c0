"""The trust policy that a customer starts from: our public keys with roles and times, to be handed over apart.

The verifier takes its own copy and ignores whatever lies in a bundle. A policy that came with the certificate it
checks would prove that the certificate agrees with itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenant_lifecycle.evidence.keys import PublicKey, Role

#: A certificate has to be in the log a day after it was issued.
MOST_LOG_DELAY_S = 86_400
MIN_APPROVALS = 2


def trust_policy(
    log_origin: str, keys: Iterable[tuple[Role, PublicKey]], *, valid_from: str, valid_until: str
) -> dict[str, Any]:
    """The policy as JSON; times as in certificates. Compare its digest with the customer over another channel."""
    return {
        "version": 1,
        "keys": [
            {
                "role": role.value,
                "algorithm": key.algorithm.value,
                "public_key": key.base64,
                "valid_from": valid_from,
                "valid_until": valid_until,
                "revoked_at": None,
            }
            for role, key in keys
        ],
        "required_roles": [Role.PERFORMER.value, Role.VERIFIER.value],
        "log_origin": log_origin,
        "revoked_certificates": [],
        "max_log_delay_s": MOST_LOG_DELAY_S,
        "min_approvals": MIN_APPROVALS,
        "tsa_roots": [],
    }
