"""Finds the kinds of stores by entry point: ours and a stranger's come in by the same door."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.keymap import IdSource, TenantIds
from tenant_lifecycle.model.ownership import OwnershipMap
from tenant_lifecycle.stores.base import Store

GROUP = "tenant_lifecycle.stores"


class StoreType(Protocol):
    """What an entry point of the group names: opens a store from its part of the configuration."""

    def __call__(
        self,
        *,
        name: str,
        environment: str,
        settings: Mapping[str, str],
        ownership: OwnershipMap,
        ids: IdSource,
    ) -> Store:
        """Open the store; connecting may wait until the first use.

        ``name`` is the store's inside the environment; ``ownership.keys[name]`` are its rules if it is keyed.
        """


def no_ids(tenant: str) -> TenantIds:  # noqa: ARG001
    """The `IdSource` of an environment without a relational store."""
    return TenantIds()


def open_store(
    kind: str,
    *,
    name: str,
    environment: str,
    settings: Mapping[str, str],
    ownership: OwnershipMap,
    ids: IdSource = no_ids,
) -> Store:
    """Open a store of that kind; ``ids`` reads the ids of the environment's tenants.

    Raises:
        ConfigError: no installed distribution brings the kind.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in found:
        raise ConfigError(
            f"store {name!r} has the kind {kind!r}, which no installed package brings",
            next_step=f"kinds installed: {', '.join(sorted(found)) or 'none'}",
        )
    store_type: StoreType = found[kind].load()
    return store_type(name=name, environment=environment, settings=settings, ownership=ownership, ids=ids)
