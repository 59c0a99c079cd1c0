"""The log service with the verifier's eyes: every group and stream, line by line, and what groups send elsewhere.

Reads from the newest line backwards, where the eraser reads forwards, and never with a filter or a query: those would
carry an identifier into the service's own records, and an emulator's find everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.cloudwatch.connection import Absent, Logs
from tenant_lifecycle.stores.cloudwatch.items import Item, Kind, decode, line
from tenant_lifecycle.stores.cloudwatch.streams import base, text
from tenant_lifecycle.stores.erasing import Batch, Found, Looked, Place
from tenant_lifecycle.stores.tally import Tally

#: Settings of a group that hold names and texts: operation, its result, and the fields.
_SETTINGS: tuple[tuple[str, str, Sequence[str]], ...] = (
    ("describe_metric_filters", "metricFilters", ("filterName", "filterPattern")),
    (
        "describe_subscription_filters",
        "subscriptionFilters",
        ("filterName", "filterPattern", "destinationArn"),
    ),
)


def places(logs: Logs, rules: KeyMap) -> list[Place]:
    """Every log group; declared if some rule could mean a stream of it."""
    found = []
    for one in _pages(logs, "describe_log_groups", "logGroups"):
        name = str(one["logGroupName"])
        first = logs.call("describe_log_streams", logGroupName=name, limit=50).get("logStreams", ())
        known = any(rules.mentions(text(name, str(stream["logStreamName"]))) for stream in first)
        found.append(Place(name, known or rules.mentions(f"{name}:x"), int(one.get("storedBytes", 0))))
    return found


def search(logs: Logs, rules: KeyMap, place: Place, found: Found, check: Check) -> Looked:
    """Go through one group; what may not be read makes the result say so."""
    tally = Tally(place.name, found)

    def proposal(stream: str) -> str:
        if rules.mentions(text(place.name, stream)):
            return ""
        return f"shared: {{found: {{template: '{place.name}:*', path: tenant_id}}}}, or a family with {{tenant}} in its name"

    try:
        tally.look(place.name, place.name.encode(), "" if place.declared else proposal("x"))
        _settings(logs, tally)
        for one in _pages(logs, "describe_log_streams", "logStreams", logGroupName=place.name):
            check()
            _stream(logs, tally, str(one["logStreamName"]), proposal, check)
    except Absent:
        pass
    except StoreRejected as exc:
        tally.could_not_read(str(exc))
    return tally.looked()


def _stream(logs: Logs, tally: Tally, stream: str, proposal: Callable[[str], str], check: Check) -> None:
    line_for = proposal(stream)
    tally.look(stream, stream.encode(), line_for)
    for number, one in enumerate(_backwards(logs, tally.place, stream)):
        if number % 1_000 == 0:
            check()
        tally.count()
        message = str(one["message"]).encode("utf-8", "surrogatepass")
        tally.look(f"{stream} @ {one['timestamp']}", message, line_for)


def _settings(logs: Logs, tally: Tally) -> None:
    for operation, result, names in _SETTINGS:
        for one in _pages(logs, operation, result, logGroupName=tally.place):
            for name in names:
                tally.look(f"{operation.removeprefix('describe_')}", str(one.get(name, "")).encode())
    tags = logs.call("list_tags_log_group", logGroupName=tally.place).get("tags", {})
    for pair in tags.items():
        tally.look("tags", "=".join(pair).encode())


def _backwards(logs: Logs, group: str, stream: str) -> Iterator[Mapping[str, Any]]:
    token: dict[str, object] = {}
    while True:
        answer = logs.call(
            "get_log_events", logGroupName=group, logStreamName=stream, startFromHead=False, **token
        )
        yield from reversed(answer["events"])
        if answer["nextBackwardToken"] == token.get("nextToken"):
            return
        token = {"nextToken": answer["nextBackwardToken"]}


def _pages(logs: Logs, operation: str, result: str, **parameters: object) -> Iterator[Mapping[str, Any]]:
    while True:
        answer = logs.call(operation, **parameters)
        yield from answer.get(result, ())
        if not answer.get("nextToken"):
            return
        parameters["nextToken"] = answer["nextToken"]


def remaining(logs: Logs, batch: Batch, check: Check) -> frozenset[bytes]:
    """Groups and streams that are listed, and lines that can still be read in the stream or in what it became."""
    items = decode(batch.keys)
    there: set[Item] = set()
    for group in sorted({one.group for one in items}):
        check()
        listed = list(_pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=group))
        if not any(one["logGroupName"] == group for one in listed):
            continue
        there.add(Item(Kind.GROUP, group))
        lines_of = {one.stream for one in items if one.kind is Kind.LINE and one.group == group}
        for one in _pages(logs, "describe_log_streams", "logStreams", logGroupName=group):
            name = str(one["logStreamName"])
            there.add(Item(Kind.STREAM, group, name))
            if base(name) in lines_of:
                for event in _backwards(logs, group, name):
                    there.add(line(group, base(name), int(event["timestamp"]), str(event["message"])))
    return frozenset(one.encode() for one in items if one in there)
