"""How an erasure's verifier looks: for whom, for which marker, with which control."""

from __future__ import annotations

from tenant_lifecycle.errors import NotAvailable
from tenant_lifecycle.model.erasure.request import Request
from tenant_lifecycle.operations.erase.ports import Looker
from tenant_lifecycle.wiring.installation import Stores


def looker_for(request: Request, operation_id: str, control_tenant: str, stores: Stores) -> Looker:  # noqa: ARG001
    """The search of one erasure."""
    raise NotAvailable(f"nothing can search for the tenant of {request.id} yet")
