"""How a request says whose it is: header names, and the form in which a tenant's id stands in one.

The id is percent-encoded UTF-8, with every character but ``A-Z a-z 0-9 - . _ ~`` encoded. So a header holds any
id, equal ids have equal headers, and what stands in a router's files and commands is harmless whatever the id.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote_to_bytes

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.names import TenantId

#: Carries the encoded id.
TENANT_HEADER = "x-tenant-id"
#: Names the session; requests of one session see one environment. The cookie counts where the header is missing.
SESSION_HEADER, SESSION_COOKIE = "x-session-id", "session"
#: ``1`` marks a request as one that writes, whatever its method.
WRITE_HEADER = "x-tenant-write"
#: Requests that write, unless the application says otherwise.
WRITE_METHODS = ("POST", "PUT", "PATCH", "DELETE")


def encode_tenant(tenant: TenantId) -> str:
    """The header's value: ``acme*1`` becomes ``acme%2A1``.

    Raises:
        UsageError: the id is empty, or no UTF-8.
    """
    if not tenant:
        raise UsageError("a tenant's id must not be empty to be routed by")
    try:
        return quote(tenant, safe="")
    except UnicodeEncodeError as exc:
        raise UsageError(f"the tenant's id {tenant!r} is no text that UTF-8 can write") from exc


def decode_tenant(value: str) -> TenantId | None:
    """The id that a header's value stands for; None if no id is encoded so."""
    try:
        tenant = TenantId(unquote_to_bytes(value).decode())
    except UnicodeDecodeError:
        return None
    return tenant if tenant and quote(tenant, safe="") == value else None


def tenant_digest(tenant: TenantId) -> str:
    """24 hex digits that stand for the tenant in counters' names: of the header's value, which the router has."""
    return hashlib.sha256(encode_tenant(tenant).encode()).hexdigest()[:24]
