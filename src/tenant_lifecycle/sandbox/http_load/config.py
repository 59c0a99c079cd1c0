"""What the HTTP load is told, and what it tells in the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class HttpLoadConfig:
    """Whom to call, for whom, how fast."""

    #: Addresses of the router or of the application in each environment; sessions are spread over them.
    urls: Sequence[str]
    #: Number of sessions by tenant.
    tenants: Mapping[str, int]
    #: A folder for the ledger; more than one load may write into it.
    ledger: Path
    #: None: until it is told to stop.
    seconds: float | None = None
    #: Requests a second of all sessions together; None: as fast as they can.
    rate: float | None = 50.0
    #: Share of the requests that read.
    reads: float = 0.5
    #: Kinds of writes; empty: all of them.
    kinds: Sequence[str] = ()
    #: Same seed, same numbers of sessions, same answers: same requests. Another load has other ids in any case.
    seed: int = 1
    #: Number of the first session, a multiple of 1000; None: one that no other load took.
    first_writer: int | None = None
    #: How long a person waits for an answer.
    timeout_s: float = 15.0

    @classmethod
    def from_json(cls, text: str) -> HttpLoadConfig:
        """Read the JSON form.

        Raises:
            TypeError: a name that is not a field, or a field without a value.
        """
        raw = json.loads(text)
        return cls(**{**raw, "ledger": Path(raw["ledger"])})

    def to_json(self) -> str:
        """For ``--config``."""
        return json.dumps({**asdict(self), "ledger": str(self.ledger)})


@dataclass(frozen=True)
class HttpSummary:
    """What all sessions saw."""

    seconds: float
    requests: int
    #: Requests that a person would have seen fail; what a repetition mended is not among them.
    failed: int
    #: Sent again after a connection broke.
    repeated: int
    acknowledged: int
    #: Writes without an answer, or with one that does not say whether they were done; failed as well.
    unknown: int
    reads: int
    #: Reads that did not show what the same session had written, one sentence each.
    stale_reads: Sequence[str]
    #: Requests that were answered, by kind.
    kinds: Mapping[str, int]
    #: Answers by environment, of requests that write and of the others.
    served: Mapping[str, Mapping[str, int]]
    #: p50, p99 and max of the latencies, milliseconds, of writes by tenant.
    latency_ms: Mapping[str, Mapping[str, float]]
    #: The same of reads.
    read_latency_ms: Mapping[str, Mapping[str, float]]
    #: Some of what failed, one sentence each.
    errors: Sequence[str]
    first_writer: int
