"""One side of a pair: an index, whose namespaces in it are whose, and what both are known to contain."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pinecone.models.namespaces.models import NamespaceDescription

from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedFamily, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.pinecone.client import Client
from tenant_lifecycle.stores.pinecone.freshness import Freshness
from tenant_lifecycle.stores.pinecone.keys import can_exist
from tenant_lifecycle.stores.pinecone.patience import Patience

#: The namespace of our own records in every index; no tenant may have one of that name.
OURS = "__tenant_lifecycle__"


def is_ours(namespace: str) -> bool:
    """Whether it is a namespace of this product: that of our records, or one of a preview."""
    return namespace.startswith(OURS)


@dataclass(slots=True)
class Side:
    """Everything the modules of this folder need of a store."""

    client: Client
    key_map: KeyMap
    ids: IdSource
    #: Whether a missing index may be created after the other side's.
    may_create_index: bool = False
    freshness: Freshness = field(init=False)
    _others: dict[str, Client] = field(default_factory=dict)
    _known: dict[TenantId, ResolvedKeys] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.freshness = Freshness(self.client)

    @property
    def name(self) -> str:
        return self.client.store

    def shared(self, tenant: TenantId) -> list[ResolvedShared]:
        """Namespaces that tenants share, and which vectors in them are the tenant's."""
        return self.key_map.resolve_shared(tenant, self.ids(tenant))

    def at(self, index: str) -> Client:
        """The client of an index of the project; kept until `close`."""
        if index == self.client.index_name:
            return self.client
        with self._lock:
            return self._others.setdefault(index, self.client.at(index))

    def close(self) -> None:
        """Give back all connections; safe to repeat."""
        with self._lock:
            others = list(self._others.values())
            self._others.clear()
        for one in (self.client, *others):
            one.close()

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        """The tenant's families, with the ids as they are now."""
        resolved = self.key_map.resolve(tenant, self.ids(tenant))
        with self._lock:
            self._known[tenant] = resolved
        return resolved

    def family_of(self, tenant: TenantId, namespace: str) -> str | None:
        """The family of a namespace; ids are read again only if those known do not tell."""
        if is_ours(namespace) or not self.key_map.mentions(namespace):
            return None
        with self._lock:
            known = self._known.get(tenant)
        found = known.family_of(namespace) if known is not None else None
        return found if found is not None else self.resolve(tenant).family_of(namespace)


def candidates(side: Side, family: ResolvedFamily, patience: Patience) -> set[str]:
    """Names of the family's namespaces that may be here: those it names, and those that are found for its patterns."""
    names = {name for name in family.exact if can_exist(name)}
    for pattern in family.patterns:
        listed = side.client.namespaces(pattern.prefix, patience)
        names |= {one.name for one in listed if pattern.matches(one.name)}
    return {name for name in names if not is_ours(name)}


def owned(side: Side, resolved: ResolvedKeys, patience: Patience) -> dict[str, list[NamespaceDescription]]:
    """The tenant's namespaces that are here, by family, in order. A namespace belongs to one family only."""
    wanted = {
        name: sorted(
            space for space in candidates(side, family, patience) if resolved.family_of(space) == name
        )
        for name, family in resolved.families.items()
    }
    described = {
        space: side.client.pool.submit(side.client.namespace, space, patience)
        for spaces in wanted.values()
        for space in spaces
    }
    return {
        name: [one for space in spaces if (one := described[space].result()) is not None]
        for name, spaces in wanted.items()
    }


def unmapped(side: Side, patience: Patience) -> Iterator[str]:
    """Names of namespaces here that no rule mentions."""
    for one in side.client.namespaces("", patience):
        if not is_ours(one.name) and not side.key_map.mentions(one.name):
            yield one.name


def written_names(resolved: ResolvedKeys) -> Mapping[str, frozenset[str]]:
    """By family, names that the map gives and the service does not take, so nothing can be under them."""
    return {
        name: impossible
        for name, family in resolved.families.items()
        if (impossible := frozenset(one for one in family.exact if not can_exist(one)))
    }
