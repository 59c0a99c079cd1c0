"""Whose a log stream is. A rule's text is ``group:stream``; neither name can have a colon, so it is exact.

A stream that an erasure wrote anew is called like the original, ``~tl-``, the operation and a number; the rules for
the original apply to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.model.keymap import IdSource, KeyMap, ResolvedKeys
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.cloudwatch.connection import Logs

#: What stands between the name of a stream and what a rewriting adds to it.
REWRITTEN = "~tl-"


@dataclass(frozen=True, slots=True)
class Area:
    """The log service with the rules that say whose its streams are."""

    logs: Logs
    rules: KeyMap
    ids: IdSource

    def resolve(self, tenant: TenantId) -> ResolvedKeys:
        return self.rules.resolve(tenant, self.ids(tenant))

    def shared(self, tenant: TenantId) -> list[ResolvedShared]:
        return self.rules.resolve_shared(tenant, self.ids(tenant))


def base(stream: str) -> str:
    """The name of the original."""
    return stream.partition(REWRITTEN)[0]


def text(group: str, stream: str) -> str:
    """What the rules see."""
    return f"{group}:{base(stream)}"


def groups(logs: Logs) -> Iterator[str]:
    """Names of all log groups."""
    yield from (str(one["logGroupName"]) for one in logs.pages("describe_log_groups", "logGroups"))


def streams(logs: Logs, group: str, beginning: str = "") -> Iterator[Mapping[str, Any]]:
    """Descriptions of a group's streams, those that begin so."""
    start = {"logStreamNamePrefix": beginning} if beginning else {}
    yield from logs.pages("describe_log_streams", "logStreams", logGroupName=group, **start)


def whole_group(resolved: ResolvedKeys, group: str) -> str | None:
    """The family that every stream of the group belongs to, whatever it is called; None: there is none."""
    for family in resolved.families.values():
        for pattern in family.patterns:
            if not pattern.suffix and f"{group}:".startswith(pattern.prefix):
                return family.name
    return None
