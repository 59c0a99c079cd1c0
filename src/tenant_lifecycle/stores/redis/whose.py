"""Whose key it is: the rules of ``ownership.yaml`` for one store, filled with a tenant's ids.

Keys are bytes at the server and text in the rules; UTF-8 with surrogate escapes translates exactly, both ways.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedKeys, TenantIds, Treatment
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared

#: Keys of ours: tokens, remembered parts, values under construction. Nobody's data.
OUR_PREFIX = b"tenant_lifecycle:"


def text_of(key: bytes) -> str:
    """A key as the rules see it."""
    return key.decode("utf-8", "surrogateescape")


def key_of(text: str) -> bytes:
    """A text of the rules as a key; the inverse of `text_of`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half of a surrogate pair is no text, and no key reads like it.
        return text.encode("utf-8", "surrogatepass")


def is_ours(key: bytes) -> bool:
    """Whether it is a key of this product."""
    return key.startswith(OUR_PREFIX)


@dataclass
class Whose:
    """The rules of one store. Remembers ids it has seen; safe to use from several threads."""

    map: KeyMap
    ids: IdSource
    _seen: dict[TenantId, TenantIds] = field(default_factory=dict, repr=False)
    _resolved: dict[TenantId, ResolvedKeys] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        """The tenant's families, with ids as they are now and as they were when this process saw them before.

        A key of a data set that was deleted meanwhile is still the tenant's: its deletion has to be carried
        over, and what is left of it has to be found.

        Raises:
            StoreError: the ids could not be read.
        """
        now = self.ids_now(tenant)
        with self._lock:
            seen = self._seen.get(tenant, TenantIds()).union(now)
            if tenant not in self._resolved or seen != self._seen.get(tenant):
                self._seen[tenant] = seen
                self._resolved[tenant] = self.map.resolve(tenant, seen)
            return self._resolved[tenant]

    def ids_now(self, tenant: TenantId) -> TenantIds:
        """The ids that the rows have now, and no others."""
        return self.ids(tenant) if self.needs_ids else TenantIds()

    def shared(self, tenant: TenantId) -> list[ResolvedShared]:
        """The shared containers, with the ids that `resolve` knows."""
        self.resolve(tenant)
        with self._lock:
            return self.map.resolve_shared(tenant, self._seen[tenant])

    def known(self, tenant: TenantId) -> ResolvedKeys:
        """As `resolve`, but with the ids of the last time, if there was one."""
        with self._lock:
            known = self._resolved.get(tenant)
        return known if known is not None else self.resolve(tenant)

    def set_of(self, tenant: TenantId, key: bytes) -> str | None:
        """The family a key belongs to; ids are read again before the answer is no."""
        if is_ours(key):
            return None
        text = text_of(key)
        found = self.known(tenant).family_of(text)
        if found is None and self.needs_ids and (self.mentions(text) or self._named):
            found = self.resolve(tenant).family_of(text)
        return found

    @property
    def _named(self) -> bool:
        """Whether keys named in rows need not look like any template."""
        return any(
            family.named_in is not None and family.template is None for family in self.map.families.values()
        )

    @property
    def needs_ids(self) -> bool:
        """Whether whose a key is can change: some family is filled from rows."""
        return bool(self.map.id_sets()) or any(
            family.named_in is not None for family in self.map.families.values()
        )

    def mentions(self, text: str) -> bool:
        """Whether some rule could be about the key: some tenant's family, or global.

        Beginnings are compared first: on a walk over all keys that is nearly all there is to do.
        """
        return any(
            template.mentions(text)
            for template in self.map.templates()
            if not template.before
            or not isinstance(template.before[0], str)
            or text.startswith(template.before[0])
        )

    def treatment(self, set_name: str) -> Treatment:
        """What a move does with a family; one that the map does not have is treated as moved."""
        family = self.map.families.get(set_name)
        return family.treatment if family is not None else Treatment.MOVE

    def sets(self, *treatments: Treatment) -> list[str]:
        """Names of the families with these treatments, in the map's order."""
        return [name for name, family in self.map.families.items() if family.treatment in treatments]


def key_map_for(keys: Mapping[str, KeyMap], name: str, store: str) -> KeyMap:
    """The rules of the store called ``name``.

    Raises:
        ConfigError: ``ownership.yaml`` has none.
    """
    found = keys.get(name)
    if found is None:
        raise ConfigError(
            f"store {store}: ownership.yaml does not say whose its keys are",
            next_step=f"add a section to ownership.yaml, stores: {name}: families: ...",
        )
    return found
