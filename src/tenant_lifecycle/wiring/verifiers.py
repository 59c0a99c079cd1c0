"""Whether the verifiers of an installation can prove anything: credentials of their own, and a control to find."""

from __future__ import annotations

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.erasing import Searches
from tenant_lifecycle.wiring.installation import Installation, Stores


def verifier_findings(installation: Installation, stores: Stores) -> list[Finding]:
    """What ``tenantctl doctor`` says about erasing; nothing if lifecycle.yaml says nothing of it.

    A verifier that shares the eraser's credentials is a warning: its looks prove less. What the verifiers'
    credentials cannot see is what they say themselves.
    """
    control = installation.erasure.control_tenant
    if not control and not installation.own_credentials:
        return []
    verifiers = installation.open_verifiers()
    try:
        return [_control(control, stores), *_credentials(installation, verifiers)]
    finally:
        for environment in verifiers.values():
            for store in environment.values():
                store.close()


def _control(control: str, stores: Stores) -> Finding:
    if not control:
        return Finding(
            "erase.no-control", Severity.WARNING, "no control tenant: no search for residue is conclusive",
            "lifecycle.yaml: erasure: control_tenant: a tenant that stays", "verification",
        )  # fmt: skip
    everywhere = [store for environment in stores.values() for store in environment.values()]
    if any(_holds(store, control) for store in everywhere):
        return Finding("erase.control", Severity.OK, "the control tenant exists", subject="verification")
    return Finding(
        "erase.control-missing", Severity.WARNING, "no store holds the control tenant, so no search will find it",
        "onboard it, and keep it", "verification",
    )  # fmt: skip


def _holds(store: Store, control: str) -> bool:
    try:
        return store.holds(TenantId(control))
    except LifecycleError:
        return False


def _credentials(installation: Installation, verifiers: Stores) -> list[Finding]:
    findings: list[Finding] = []
    for environment in verifiers.values():
        for store in environment.values():
            if not isinstance(store, Searches):
                findings.append(_unsearchable(store.name, store.kind))
            elif store.name not in installation.own_credentials:
                findings.append(_shared(store.name))
            else:
                findings += store.verifier_findings()
    return findings


def _unsearchable(name: str, kind: str) -> Finding:
    message = f"nothing of ours can search a store of kind {kind}, so an erasure there is never done"
    return Finding("erase.unsearchable", Severity.WARNING, message, subject=name)


def _shared(name: str) -> Finding:
    message = "the verifier has the eraser's credentials: a clean search proves V1 at most"
    next_step = f"lifecycle.yaml: give {name} a verify: section with credentials that read everything"
    return Finding("erase.same-credentials", Severity.WARNING, message, next_step, name)
