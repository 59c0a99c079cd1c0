"""Planting a marker as a tenant's own data: a stream of its own family, and one of a shared family with its line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.cloudwatch import lines
from tenant_lifecycle.stores.cloudwatch.anonymise import CANARY
from tenant_lifecycle.stores.cloudwatch.lines import Line
from tenant_lifecycle.stores.cloudwatch.streams import Area, base, groups, streams
from tenant_lifecycle.stores.erasing import CANARY_NAME, Erasing, Planted

_NAME = CANARY_NAME


def is_planted(stream: str) -> bool:
    """Whether a stream is ours, so that nobody is disturbed when it is rewritten."""
    return base(stream).endswith(_NAME)


def plant(area: Area, erasing: Erasing, marker: str) -> list[Planted]:
    """Write one line into each; none where the rules leave no room for a name, or the group is not there."""
    there = set(groups(area.logs))
    planted = []
    for group, stream, fields in _where(area, erasing.tenant, there):
        message = json.dumps({**fields, CANARY: marker})
        if not any(base(str(one["logStreamName"])) == stream for one in streams(area.logs, group, stream)):
            area.logs.call("create_log_stream", logGroupName=group, logStreamName=stream)
        if all(one.message != message for one in lines.read(area.logs, group, stream)):
            lines.put(area.logs, group, stream, [Line(int(time.time() * 1000), message)], lambda: None)
            lines.await_lines(
                area.logs, group, stream, sum(1 for _ in lines.read(area.logs, group, stream)), lambda: None
            )
        planted.append(Planted(group, 1))
    return planted


def _where(area: Area, tenant: TenantId, there: set[str]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Group, stream and fields of the line, for the first family and every shared rule that has room."""
    own = [pattern for family in area.resolve(tenant).families.values() for pattern in family.patterns]
    for pattern in own:
        group, colon, start = pattern.prefix.partition(":")
        if colon and group in there and not pattern.suffix:
            yield group, start + _NAME, {}
            break
    for rule in area.shared(tenant):
        group, colon, start = rule.containers.prefix.partition(":")
        owner = next((one for one in rule.owners), None)
        if (
            colon
            and group in there
            and rule.containers.open
            and not rule.containers.suffix
            and rule.path
            and owner
        ):
            yield group, start + _NAME, _fields(rule.path, owner.prefix + owner.suffix)


def _fields(path: tuple[str, ...], value: str) -> dict[str, object]:
    """A mapping with the value at the path."""
    made: object = value
    for step in reversed(path):
        made = {step: made}
    if not isinstance(made, dict):
        raise StoreRejected("a shared rule without a path takes no planted line", store="cloudwatch")
    return made
