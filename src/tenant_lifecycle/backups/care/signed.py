"""Notes of the care itself: small JSON objects in clear, signed, and bound to their name.

They hold names of objects, sizes, digests and times: nothing of a tenant's, and no key is needed to read them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Protocol

from tenant_lifecycle.backups.keys import canonical
from tenant_lifecycle.errors import RepositoryDamaged

_DOMAIN = b"tenant-lifecycle care note\0"


class Signs(Protocol):
    """The repository's signing key; `verifies` needs its public half only."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes, Ed25519."""

    def verifies(self, signature: bytes, message: bytes) -> bool: ...


def signed(name: str, body: Mapping[str, Any], signs: Signs) -> bytes:
    """The note's bytes."""
    signature = signs.sign(_bound(name, body))
    return canonical({"body": body, "signature": base64.b64encode(signature).decode()})


def read_signed(name: str, data: bytes, signs: Signs) -> Mapping[str, Any]:
    """The note's body.

    Raises:
        RepositoryDamaged: not one bit may differ from what was signed under that name.
    """
    try:
        said = json.loads(data)
        body: Mapping[str, Any] = said["body"]
        signature = base64.b64decode(said["signature"], validate=True)
        exact = canonical({"body": body, "signature": base64.b64encode(signature).decode()}) == data
    except (ValueError, KeyError, TypeError) as exc:
        raise RepositoryDamaged(
            f"{name}: is no signed note", next_step="tenantctl backup check --repair"
        ) from exc
    if not exact or not signs.verifies(signature, _bound(name, body)):
        raise RepositoryDamaged(
            f"{name}: was changed, or is not signed by us", next_step="tenantctl backup check --repair"
        )
    return body


def _bound(name: str, body: Mapping[str, Any]) -> bytes:
    return _DOMAIN + canonical({"body": body, "name": name})
