"""Reading and writing the lines of a stream, within what the service takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenant_lifecycle.errors import StoreBusy, StoreRejected
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.cloudwatch.connection import Logs

#: One PutLogEvents: at most so many lines, bytes (with 26 for each line) and time from the first to the last.
MOST_LINES, MOST_BYTES, PER_LINE, SPAN_MS = 10_000, 1_000_000, 26, 23 * 3_600_000
#: Lines older than 14 days are not taken; a little earlier is safe.
PUTTABLE_S = 14 * 86_400 - 600
#: What was put may be readable only after a while.
READABLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Line:
    """One event."""

    #: Milliseconds since 1970, as the application said.
    timestamp: int
    message: str
    #: When the service got it.
    ingested: int = 0


def read(logs: Logs, group: str, stream: str) -> Iterator[Line]:
    """All lines in order; the end is where the same token comes again."""
    token: dict[str, object] = {}
    while True:
        answer = logs.call(
            "get_log_events", logGroupName=group, logStreamName=stream, startFromHead=True, **token
        )
        for one in answer["events"]:
            yield Line(int(one["timestamp"]), str(one["message"]), int(one.get("ingestionTime", 0)))
        if answer["nextForwardToken"] == token.get("nextToken"):
            return
        token = {"nextToken": answer["nextForwardToken"]}


def is_old(line: Line, now: float) -> bool:
    """Whether the service would not take it any more."""
    return line.timestamp / 1000 < now - PUTTABLE_S


def put(logs: Logs, group: str, stream: str, lines: Sequence[Line], check: Check) -> None:
    """Write lines, which are in the order of their times.

    Raises:
        StoreRejected: the service did not take all of them.
    """
    for batch in _batches(lines):
        check()
        events = [{"timestamp": one.timestamp, "message": one.message} for one in batch]
        answer = logs.call("put_log_events", logGroupName=group, logStreamName=stream, logEvents=events)
        if answer.get("rejectedLogEventsInfo"):
            raise StoreRejected(
                f"{logs.store}: lines were not taken: too old, too new, or expired", store=logs.store
            )


def _batches(lines: Sequence[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for one in lines:
        needs = len(one.message.encode("utf-8", "surrogatepass")) + PER_LINE
        full = len(batch) == MOST_LINES or size + needs > MOST_BYTES
        if batch and (full or one.timestamp - batch[0].timestamp > SPAN_MS):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += needs
    if batch:
        yield batch


def await_lines(logs: Logs, group: str, stream: str, count: int, check: Check) -> None:
    """Return when so many lines can be read.

    Raises:
        StoreBusy: they cannot within two minutes.
    """
    end = time.monotonic() + READABLE_S
    while sum(1 for _ in read(logs, group, stream)) != count:
        if time.monotonic() > end:
            raise StoreBusy(f"{logs.store}: lines that were written are not readable yet", store=logs.store)
        check()
        time.sleep(0.5)
