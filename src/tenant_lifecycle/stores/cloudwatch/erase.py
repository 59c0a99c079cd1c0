"""Deleting groups and streams, and anonymising lines, as a manifest names them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.sharedmap import ResolvedShared
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.cloudwatch import lines
from tenant_lifecycle.stores.cloudwatch.anonymise import Token, anonymised, words
from tenant_lifecycle.stores.cloudwatch.connection import Absent
from tenant_lifecycle.stores.cloudwatch.items import Item, Kind, decode, line
from tenant_lifecycle.stores.cloudwatch.lines import Line
from tenant_lifecycle.stores.cloudwatch.plant import is_planted
from tenant_lifecycle.stores.cloudwatch.rewriting import Rewriting, present, recover, rewrite, with_message
from tenant_lifecycle.stores.cloudwatch.streams import Area, text, whole_group
from tenant_lifecycle.stores.erasing import Erased, Erasing, Refused

NOT_THE_TENANTS, IS_WRITTEN, TOO_OLD = "NotTheTenants", "StreamIsWritten", "LinesTooOldToPut"


@dataclass(slots=True)
class _Work:
    """One call of `erase`."""

    area: Area
    erasing: Erasing
    token: Token
    check: Check
    deleted: int = 0
    gone: int = 0
    refused: list[Refused] = field(default_factory=list)

    def refuse(self, items: Sequence[Item], code: str) -> None:
        self.refused += [Refused(one.encode(), code) for one in items]


def erase(area: Area, erasing: Erasing, batch: Batch, token: Token, check: Check) -> Erased:
    """Delete or anonymise exactly these items. The service cannot refuse an older driver; see docs/stores/cloudwatch.md.

    A stream that is being written to is left alone and refused: rewriting it would lose lines of others.

    Raises:
        StoreBusy: a stream was written to while it was rewritten; it is as it was.
        StoreError: the service refused or did not answer.
    """
    work = _Work(area, erasing, token, check)
    items = decode(batch.keys)
    for item in items:
        if item.kind is not Kind.LINE:
            _container(work, item)
    shared = [one for one in items if one.kind is Kind.LINE]
    for group, stream in dict.fromkeys((one.group, one.stream) for one in shared):
        _lines(work, group, stream, [one for one in shared if (one.group, one.stream) == (group, stream)])
    return Erased(work.deleted, work.gone, tuple(work.refused))


def _container(work: _Work, item: Item) -> None:
    resolved = work.area.resolve(work.erasing.tenant)
    is_group = item.kind is Kind.GROUP
    mine = (
        whole_group(resolved, item.group) if is_group else resolved.family_of(text(item.group, item.stream))
    )
    if mine is None:
        work.refuse([item], NOT_THE_TENANTS)
        return
    work.check()
    place = (
        {"logGroupName": item.group}
        if is_group
        else {"logGroupName": item.group, "logStreamName": item.stream}
    )
    try:
        work.area.logs.call("delete_log_group" if is_group else "delete_log_stream", **place)
    except Absent:
        work.gone += 1
    else:
        work.deleted += 1


def _lines(work: _Work, group: str, original: str, items: Sequence[Item]) -> None:
    logs, tenant = work.area.logs, work.erasing.tenant
    containers = text(group, original)
    rule = next((one for one in work.area.shared(tenant) if one.containers.matches(containers)), None)
    if rule is None:
        work.refuse(items, NOT_THE_TENANTS)
        return
    recover(logs, group, original, work.check)
    left = set(items)
    for stream in present(logs, group, original):
        job = Rewriting(
            logs, group, str(stream["logStreamName"]), int(stream["creationTime"]), work.erasing.name
        )
        found = list(lines.read(logs, group, job.stream))
        named = {line(group, original, one.timestamp, one.message): one for one in found}
        here = {item for item in left & named.keys() if rule.owns(named[item].message)}
        strange = (left & named.keys()) - here
        work.refuse(sorted(strange, key=Item.encode), NOT_THE_TENANTS)
        left -= named.keys()
        if here:
            _stream(work, rule, job, found, here)
    work.gone += len(left)


def _stream(
    work: _Work, rule: ResolvedShared, job: Rewriting, found: Sequence[Line], items: set[Item]
) -> None:
    now, logs = time.time(), job.logs
    newest = max(one.ingested for one in found) / 1000
    if newest > now - logs.quiet_s and not is_planted(job.stream):
        work.refuse(sorted(items, key=Item.encode), IS_WRITTEN)
        return
    if any(lines.is_old(one, now) for one in found) and not logs.drops_old and logs.old_lines is None:
        work.refuse(sorted(items, key=Item.encode), TOO_OLD)
        return
    pattern = identifiers(work.area, work.erasing)

    def change(one: Line) -> Line:
        if line(job.group, base_of(items), one.timestamp, one.message) not in items:
            return one
        return with_message(one, anonymised(one.message, rule, pattern, work.token))

    rewrite(job, found, change, work.check)
    work.deleted += len(items)


def base_of(items: set[Item]) -> str:
    """The original's name, which all items of one stream have."""
    return next(iter(items)).stream


def identifiers(area: Area, erasing: Erasing) -> re.Pattern[str]:
    """What names the tenant in its own lines: its id and every id of its rows that the rules know."""
    ids = area.ids(erasing.tenant)
    values = [one for some in (*ids.sets.values(), *ids.named.values()) for one in some]
    return words([erasing.tenant, *values])
