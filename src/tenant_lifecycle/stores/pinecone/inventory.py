"""Who is here, and how much of it: the service's own counts, which lag behind writes, or every id counted."""

from __future__ import annotations

from collections.abc import Iterator

from pinecone.models.namespaces.models import NamespaceDescription

from tenant_lifecycle.errors import UnmappedData
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.pinecone.patience import Patience
from tenant_lifecycle.stores.pinecone.side import Side, is_ours, owned, unmapped

MOST_TENANTS = 10_000


def tenants(side: Side) -> list[TenantId]:
    """Tenants that a namespace is named after; those known by a set of ids only are not seen here."""
    templates = [family.template for family in side.key_map.families.values() if family.template is not None]
    own = [template for template in templates if template.names == {"tenant"} and template.after is None]
    others = [*(template for template in templates if template not in own), *side.key_map.globals]
    found: set[str] = set()
    for one in side.client.namespaces("", Patience()):
        if not is_ours(one.name) and not any(template.mentions(one.name) for template in others):
            found.update(name for template in own if (name := _tenant_in(template, one.name)))
    return [TenantId(name) for name in sorted(found)[:MOST_TENANTS]]


def _tenant_in(template: Template, namespace: str) -> str | None:
    """The tenant whose name makes the template this namespace; None: nobody's does."""
    mark = "\0"
    before, _, rest = template.fill({"tenant": mark}).prefix.partition(mark)
    tenant = namespace[len(before) : len(namespace) - len(rest.rpartition(mark)[2])]
    return tenant if tenant and template.fill({"tenant": tenant}).matches(namespace) else None


def holds(side: Side, tenant: TenantId) -> bool:
    """Whether a vector of the tenant is here."""
    return any(counted(side, one.name) for spaces in _owned(side, tenant).values() for one in spaces)


def counted(side: Side, namespace: str) -> bool:
    """Whether a namespace has a vector, everything written before the call seen."""
    patience = Patience()
    if side.freshness.settle(namespace, patience) is None:
        return False
    return any(True for _ in side.client.pages(namespace, patience))


def inventory(side: Side, tenant: TenantId, *, exact: bool) -> list[SetSize]:
    """Vectors and bytes by family; bytes are the service's estimate.

    Raises:
        UnmappedData: a namespace has no rule.
    """
    if strangers := list(unmapped(side, Patience())):
        raise UnmappedData(
            f"{side.name}: no rule in ownership.yaml for {len(strangers)} namespace(s), {shown(strangers)}",
            next_step="add a family or a global template for them",
        )
    return [
        SetSize(
            name,
            sum(sum(_lengths(side, one.name)) if exact else one.record_count for one in spaces),
            sum(one.size_bytes for one in spaces),
            exact,
        )
        for name, spaces in _owned(side, tenant).items()
    ]


def shown(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _owned(side: Side, tenant: TenantId) -> dict[str, list[NamespaceDescription]]:
    return owned(side, side.resolve(tenant), Patience())


def _lengths(side: Side, namespace: str) -> Iterator[int]:
    patience = Patience()
    if side.freshness.settle(namespace, patience) is not None:
        yield from (len(page) for page in side.client.pages(namespace, patience))
