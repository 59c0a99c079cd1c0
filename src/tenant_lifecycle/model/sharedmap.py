"""Shared containers: one key, stream or queue that holds members of many tenants, and how to tell whose one is.

A member is the tenant's if a text in it matches a template: the member's own text, or what stands at a *path* in
it. On a path, texts are opened on the way: JSON, or base64 of JSON, as Celery packs its tasks. So
``body.1.tenant_id`` finds the keyword argument ``tenant_id`` of a queued task.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from tenant_lifecycle.model.templates import Pattern, Template

_OWN_ID = Template.parse("{tenant}")


@dataclass(frozen=True, slots=True)
class Shared:
    """The rule of one container, or of many that are called alike."""

    #: Names of the containers; no placeholder.
    template: Template
    #: Steps into a member: names of fields, numbers of items. Empty: the member's own text counts.
    path: tuple[str, ...] = ()
    #: What the text reads like if the member is a tenant's.
    owner: Template = _OWN_ID
    #: Paths whose values are replaced in a member that stays and is anonymised (a log line).
    personal: tuple[tuple[str, ...], ...] = ()

    def resolve(self, name: str, tenant: str, sets: Mapping[str, frozenset[str]]) -> ResolvedShared:
        """Put in a tenant's id and ids."""
        names = sorted(self.owner.names - {"tenant"})
        filled = [
            self.owner.fill({"tenant": tenant, **dict(zip(names, values, strict=True))})
            for values in product(*(sorted(sets.get(one, frozenset())) for one in names))
        ]
        return ResolvedShared(name, self.template.fill({}), self.path, tuple(filled), self.personal)


@dataclass(frozen=True, slots=True)
class ResolvedShared:
    """The rule for one tenant."""

    name: str
    containers: Pattern
    path: tuple[str, ...]
    owners: tuple[Pattern, ...]
    personal: tuple[tuple[str, ...], ...] = ()

    def owns(self, member: object) -> bool:
        """Whether a member (bytes, text, or a mapping of fields) is the tenant's."""
        text = text_at(member, self.path)
        return text is not None and any(owner.matches(text) for owner in self.owners)


def text_at(member: object, path: tuple[str, ...]) -> str | None:
    """The text, or number, at a path; None: there is none."""
    found: Any = _plain(member)
    for step in path:
        found = opened(found)
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
        found = _plain(found)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return str(found)


def opened(value: object) -> object:
    """A text as the JSON it is, or the base64 of; anything else as it is."""
    if not isinstance(value, str):
        return value
    for text in (value, _unbase64(value)):
        try:
            found: object = json.loads(text) if text else None
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict | list):
            return found
    return value


def _unbase64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _plain(value: object) -> object:
    """Bytes as text; nothing is lost."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
