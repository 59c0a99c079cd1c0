"""What an application imports: find the writer, write in all stores, and follow the tenant when it moves."""

from tenant_lifecycle.client.environment import Bucket, Environment
from tenant_lifecycle.client.gate import WriterGate
from tenant_lifecycle.client.outcome import BlockEnded, JournalUnreachable, UnknownOutcome
from tenant_lifecycle.client.session import Session
from tenant_lifecycle.client.tenants import ReadSession, TenantClient, Written

__all__ = [
    "BlockEnded", "Bucket", "Environment", "JournalUnreachable", "ReadSession", "Session", "TenantClient", "UnknownOutcome",
    "WriterGate", "Written",
]  # fmt: skip
