"""Writing a shared stream anew with some lines anonymised, and deleting the original. Events cannot be edited.

The copy ends with a line of ours that says it is whole and which original it stands for. So after a crash a copy
without that line is thrown away, and an original whose copy is whole is deleted and not copied a second time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.cloudwatch import lines
from tenant_lifecycle.stores.cloudwatch.connection import Absent, Logs
from tenant_lifecycle.stores.cloudwatch.lines import Line
from tenant_lifecycle.stores.cloudwatch.streams import REWRITTEN, base, streams

#: The field of our last line in a copy.
WHOLE = "tenant_lifecycle_rewritten"


@dataclass(frozen=True, slots=True)
class Rewriting:
    """One stream to be written anew."""

    logs: Logs
    group: str
    stream: str
    #: Milliseconds since 1970 when it was made; tells it from a later one of the same name.
    created: int
    operation: str

    @property
    def copy(self) -> str:
        """The new name: the same operation may rewrite a stream more than once."""
        before, _, number = self.stream.rpartition("-")
        again = before == f"{base(self.stream)}{REWRITTEN}{self.operation}" and number.isdecimal()
        return f"{base(self.stream)}{REWRITTEN}{self.operation}-{int(number) + 1 if again else 1}"


def present(logs: Logs, group: str, original: str) -> list[Mapping[str, Any]]:
    """The original and what it was rewritten to, as far as they are there."""
    try:
        found = list(streams(logs, group, original))
    except Absent:
        return []
    return [one for one in found if base(str(one["logStreamName"])) == original]


def recover(logs: Logs, group: str, original: str, check: Check) -> None:
    """Bring what a driver that was killed left behind into order: no half copy, no original beside its whole copy."""
    found = {(str(one["logStreamName"]), int(one["creationTime"])) for one in present(logs, group, original)}
    for name, _ in found:
        if REWRITTEN not in name:
            continue
        mark = _mark(logs, group, name)
        check()
        if mark is None:
            _delete(logs, group, name)
        elif (mark["of"], mark["created"]) in found:
            _delete(logs, group, mark["of"])


def _mark(logs: Logs, group: str, stream: str) -> Mapping[str, Any] | None:
    last = None
    for last in lines.read(logs, group, stream):  # noqa: B007
        pass
    try:
        mark = json.loads(last.message)[WHOLE] if last is not None else None
    except (ValueError, TypeError, KeyError):
        return None
    return mark if isinstance(mark, dict) else None


def is_mark(message: str) -> bool:
    """Whether a line is ours."""
    return message.startswith(f'{{"{WHOLE}": ')


def rewrite(job: Rewriting, found: Sequence[Line], change: Callable[[Line], Line], check: Check) -> None:
    """Write the copy, see that it is whole, and delete the original.

    Lines that are too old to be put go into the folder of the settings, or nowhere, if the settings say so.

    Raises:
        StoreBusy: somebody wrote to the original meanwhile; it is as it was.
        StoreRejected: the service did not take a line.
    """
    now = time.time()
    changed = [change(one) for one in found if not is_mark(one.message)]
    kept = [one for one in changed if not lines.is_old(one, now)]
    _export(job, [one for one in changed if lines.is_old(one, now)])
    job.logs.call("create_log_stream", logGroupName=job.group, logStreamName=job.copy)
    lines.put(job.logs, job.group, job.copy, kept, check)
    lines.await_lines(job.logs, job.group, job.copy, len(kept), check)
    if sum(1 for _ in lines.read(job.logs, job.group, job.stream)) != len(found):
        _delete(job.logs, job.group, job.copy)
        raise StoreBusy(f"{job.logs.store}: a shared stream was written to meanwhile", store=job.logs.store)
    stamp = max((one.timestamp for one in kept), default=int(now * 1000))
    mark = json.dumps({WHOLE: {"of": job.stream, "created": job.created, "lines": len(kept)}})
    lines.put(job.logs, job.group, job.copy, [Line(stamp, mark)], check)
    lines.await_lines(job.logs, job.group, job.copy, len(kept) + 1, check)
    check()
    _delete(job.logs, job.group, job.stream)


def _export(job: Rewriting, old: Sequence[Line]) -> None:
    """One file for each copy, by a name that says nothing; written whole or not at all."""
    if not old or job.logs.old_lines is None:
        return
    job.logs.old_lines.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{job.group}:{job.copy}".encode()).hexdigest()[:32]
    final = job.logs.old_lines / f"{name}.jsonl"
    with final.with_suffix(".part").open("w", encoding="utf-8", errors="surrogatepass") as file:
        for one in old:
            file.write(json.dumps({"timestamp": one.timestamp, "message": one.message}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    final.with_suffix(".part").replace(final)


def _delete(logs: Logs, group: str, stream: str) -> None:
    with contextlib.suppress(Absent):
        logs.call("delete_log_stream", logGroupName=group, logStreamName=stream)


def with_message(line: Line, message: str) -> Line:
    """The line with another text."""
    return replace(line, message=message)
