"""Everything of a tenant in the log service: whole groups, whole streams, and its lines in streams that are shared."""

from __future__ import annotations

from collections.abc import Iterator

from tenant_lifecycle.model.erasure.manifest import Batch, Method
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.cloudwatch import lines
from tenant_lifecycle.stores.cloudwatch.connection import Absent, Logs
from tenant_lifecycle.stores.cloudwatch.items import Item, Kind, line
from tenant_lifecycle.stores.cloudwatch.streams import Area, base, groups, streams, text, whole_group

#: Lines of one batch. Every batch writes its stream anew, so it is large.
BATCH_LINES = 50_000


def doomed(area: Area, tenant: TenantId, check: Check) -> Iterator[Batch]:
    """Group by group. A group all of whose streams are the tenant's goes as a whole, its name included."""
    resolved, shared = area.resolve(tenant), area.shared(tenant)
    for group in groups(area.logs):
        check()
        if (family := whole_group(resolved, group)) is not None:
            yield Batch(family, Method.DROP, (Item(Kind.GROUP, group).encode(),))
            continue
        try:
            for stream in list(streams(area.logs, group)):
                name = str(stream["logStreamName"])
                owner = resolved.family_of(text(group, name))
                if owner is not None:
                    key = Item(Kind.STREAM, group, name).encode()
                    yield Batch(owner, Method.DROP, (key,), int(stream.get("storedBytes", 0)))
                    continue
                rule = next((one for one in shared if one.containers.matches(text(group, name))), None)
                if rule is not None:
                    yield from _lines(area.logs, rule, group, name, check)
        except Absent:
            continue


def _lines(logs: Logs, rule: ResolvedShared, group: str, stream: str, check: Check) -> Iterator[Batch]:
    seen: dict[bytes, int] = {}
    for number, one in enumerate(lines.read(logs, group, stream)):
        if number % 1_000 == 0:
            check()
        if rule.owns(one.message):
            seen[line(group, base(stream), one.timestamp, one.message).encode()] = len(one.message)
        if len(seen) == BATCH_LINES:
            yield Batch(rule.name, Method.ANONYMISE, tuple(seen), sum(seen.values()))
            seen = {}
    if seen:
        yield Batch(rule.name, Method.ANONYMISE, tuple(seen), sum(seen.values()))
