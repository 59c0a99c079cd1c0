"""What to know before a tenant leaves the logs, whether the verifier sees everything, and what has to be done by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.cloudwatch import lines
from tenant_lifecycle.stores.cloudwatch.anonymise import words
from tenant_lifecycle.stores.cloudwatch.connection import Absent, Logs
from tenant_lifecycle.stores.cloudwatch.plant import is_planted
from tenant_lifecycle.stores.cloudwatch.streams import Area, groups, streams, text, whole_group


def _finding(logs: Logs, severity: Severity, code: str, message: str, step: str = "") -> Finding:
    return Finding(f"cloudwatch.{code}", severity, message, step, logs.store)


def probe(logs: Logs) -> list[Finding]:
    """Whether it answers; never raises for what it finds."""
    try:
        count = sum(1 for _ in groups(logs))
    except StoreError as exc:
        said = str(exc).removeprefix(f"{logs.store}: ")
        return [_finding(logs, Severity.REFUSAL, "reachable", said, exc.next_step or "tenantctl doctor")]
    return [_finding(logs, Severity.OK, "reachable", f"answers; {count} log groups")]


def erasure_findings(area: Area, tenant: TenantId) -> list[Finding]:
    """Refusals and what an approver has to know; changes nothing. Reads all lines of shared streams."""
    found = probe(area.logs)
    if found[0].severity is Severity.REFUSAL:
        return found
    try:
        return [*found, *_unmapped(area), *_shared(area, tenant), *_forwarded(area, tenant)]
    except StoreError as exc:
        said = str(exc).removeprefix(f"{area.logs.store}: ")
        return [*found, _finding(area.logs, Severity.REFUSAL, "reachable", said, exc.next_step)]


def unmapped(area: Area) -> int:
    """How many streams no rule mentions."""
    return sum(
        not area.rules.mentions(text(group, str(one["logStreamName"])))
        for group in groups(area.logs)
        for one in streams(area.logs, group)
    )


def _unmapped(area: Area) -> Iterator[Finding]:
    if count := unmapped(area):
        yield _finding(
            area.logs, Severity.REFUSAL, "unmapped", f"no rule in ownership.yaml for {count} log streams",
            "add families, shared rules or global templates of the form group:stream",
        )  # fmt: skip


def _shared(area: Area, tenant: TenantId) -> Iterator[Finding]:
    """Streams that cannot be rewritten now, or only with a loss."""
    now, written, old = time.time(), 0, 0
    rules = area.shared(tenant)
    for group in groups(area.logs):
        for stream in streams(area.logs, group):
            name = str(stream["logStreamName"])
            rule = next((one for one in rules if one.containers.matches(text(group, name))), None)
            if rule is None or is_planted(name):
                continue
            found = list(lines.read(area.logs, group, name))
            if not any(rule.owns(one.message) for one in found):
                continue
            written += max(one.ingested for one in found) / 1000 > now - area.logs.quiet_s
            old += sum(lines.is_old(one, now) for one in found)
    if written:
        yield _finding(
            area.logs, Severity.REFUSAL, "stream-written", f"{written} shared streams with lines of the tenant are being "
            f"written to (within {area.logs.quiet_s:g} s)", "have the application begin new streams, then try again",
        )  # fmt: skip
    if old:
        yield from _old(area.logs, old)


def _old(logs: Logs, count: int) -> Iterator[Finding]:
    said = f"{count} lines in shared streams, other tenants' included, are older than 14 days and cannot be put again"
    if logs.drops_old:
        yield _finding(logs, Severity.WARNING, "old-lines", f"{said}: they will be lost (old_lines: drop)")
    elif logs.old_lines is not None:
        yield _finding(logs, Severity.WARNING, "old-lines", f"{said}: they will go, anonymised, into files")
    else:
        step = "set old_lines of this store to a folder, or to drop"
        yield _finding(logs, Severity.REFUSAL, "old-lines", said, step)


def _forwarded(area: Area, tenant: TenantId) -> Iterator[Finding]:
    resolved, rules = area.resolve(tenant), area.shared(tenant)
    count = 0
    for group in groups(area.logs):
        sent = list(
            area.logs.pages("describe_subscription_filters", "subscriptionFilters", logGroupName=group)
        )
        names = [text(group, str(one["logStreamName"])) for one in streams(area.logs, group)] if sent else []
        mine = whole_group(resolved, group) is not None or any(
            resolved.family_of(one) or any(rule.containers.matches(one) for rule in rules) for one in names
        )
        count += len(sent) if mine else 0
    if count:
        yield _finding(
            area.logs, Severity.WARNING, "forwarded", f"{count} subscription filters send the tenant's lines elsewhere",
            "erase at their destinations as well",
        )  # fmt: skip


def verifier_findings(logs: Logs) -> list[Finding]:
    """Whether groups, streams, lines, filters and tags can be read; no writing is tried."""
    found = probe(logs)
    if found[0].severity is Severity.REFUSAL:
        return found
    group = next(groups(logs), "tenant-lifecycle-none")
    place = {"logGroupName": group}
    needed: tuple[tuple[str, dict[str, object]], ...] = (
        ("describe_log_streams", {**place, "limit": 1}), ("describe_metric_filters", {**place}),
        ("describe_subscription_filters", {**place}), ("list_tags_log_group", {**place}),
        ("get_log_events", {**place, "logStreamName": "tenant-lifecycle-none", "limit": 1}),
    )  # fmt: skip
    for operation, parameters in needed:
        try:
            logs.call(operation, **parameters)
        except Absent:
            continue
        except StoreError as exc:
            said = str(exc).removeprefix(f"{logs.store}: ")
            found.append(_finding(logs, Severity.REFUSAL, "verifier-rights", said, exc.next_step))
    return found


def named_settings(logs: Logs, tenant: TenantId) -> Iterator[str]:
    """Settings of groups that stay and name the tenant: somebody has to change them."""
    pattern = words([tenant])
    kinds = (
        ("describe_metric_filters", "metricFilters", "metric filters"),
        ("describe_subscription_filters", "subscriptionFilters", "subscription filters"),
    )
    for operation, result, said in kinds:
        found = [one for group in groups(logs) for one in logs.pages(operation, result, logGroupName=group)]
        texts = [f"{one.get('filterName', '')} {one.get('filterPattern', '')}" for one in found]
        if count := sum(pattern.search(one) is not None for one in texts):
            yield f"{count} {said} name the tenant: change or delete them"
