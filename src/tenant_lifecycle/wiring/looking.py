"""How an erasure's verifier looks: for whom, for which marker, with which control."""

from __future__ import annotations

from collections.abc import Container, Iterable

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.erasure.identifiers import identifiers_of
from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.erasure.request import Request
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.looking import SystemLook, Wanted, look
from tenant_lifecycle.operations.erase.opening import canary_of, control_marker
from tenant_lifecycle.operations.erase.ports import Looker
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Searches
from tenant_lifecycle.wiring.installation import Stores


def looker_for(
    request: Request, operation_id: str, control_tenant: str, stores: Stores, own_credentials: Container[str]
) -> Looker:
    """The search of one erasure. Neighbours are asked for once, at the first look.

    ``own_credentials`` has the names of the stores whose verifier has some.
    """
    known: list[Wanted] = []

    def looking(
        searcher: Searches, batches: Iterable[Batch], check: Check, kept: Iterable[Batch] = ()
    ) -> SystemLook:
        if not known:
            known.append(wanted(request, operation_id, control_tenant, tenants_of(stores)))
        own = getattr(searcher, "name", "") in own_credentials
        return look(searcher, known[0], batches, check, kept=kept, own_credentials=own)

    return looking


def wanted(request: Request, operation_id: str, control_tenant: str, tenants: Iterable[TenantId]) -> Wanted:
    """Everything that names the tenant or was planted for it, apart from all other tenants."""
    others = set(tenants) - {request.tenant}
    identifiers = identifiers_of(
        request.tenant, request.aliases, [canary_of(operation_id)], {*others, *_named(control_tenant)}
    )
    control = None
    if control_tenant:
        control = identifiers_of(
            TenantId(control_tenant), (), [control_marker(control_tenant)], others - {control_tenant}
        )
    return Wanted(identifiers, control)


def tenants_of(stores: Stores) -> set[TenantId]:
    """Every tenant that any store knows of; without them a neighbour's id may be taken for a part of it."""
    known: set[TenantId] = set()
    for environment in stores.values():
        for store in environment.values():
            try:
                known.update(store.tenants())
            except LifecycleError:
                continue
    return known


def _named(text: str) -> set[str]:
    return {text} if text else set()
