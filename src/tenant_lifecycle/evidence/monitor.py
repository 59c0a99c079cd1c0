"""What is wrong with a log, as a pure function of what was read: gaps, changed entries, forks, clocks, silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tenant_lifecycle.evidence.entries import NO_PREVIOUS, Entry, Opening
from tenant_lifecycle.evidence.merkle import Frontier
from tenant_lifecycle.evidence.notes import Head

#: The clock may step back by so much (leap smearing, another host) without a word.
CLOCK_SLACK_MS = 2_000
#: With entries newer than the newest checkpoint, the checkpoint may be so old.
MOST_SILENCE_MS = 120_000


class Fault(StrEnum):
    """Kinds of alarm."""

    #: A number is missing, of the log or of one operation.
    GAP = "gap"
    #: An entry does not follow from the one before, or its stored hashes are not its own.
    CHANGED = "changed"
    #: A signed head does not fit the entries: two histories exist.
    FORK = "fork"
    #: A signed head covers more entries than there are.
    TRUNCATED = "truncated"
    CLOCK = "clock-reversal"
    STALLED = "stalled-checkpoint"
    #: An opening does not open its entry.
    OPENING = "opening"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong."""

    fault: Fault
    #: Number of the entry, or size of the head, that it is about.
    at: int
    message: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it lies in the database."""

    entry: Entry
    #: The subtrees that it completes, smallest first; the first is its leaf hash.
    nodes: tuple[bytes, ...]
    #: None: redacted.
    opening: Opening | None


@dataclass(frozen=True, slots=True)
class Review:
    """What reading the whole log came to."""

    size: int
    root: bytes
    redacted: int
    alarms: tuple[Alarm, ...]


def review(entries: Iterable[Stored], heads: Iterable[Head], *, signed_at_ms: int, now_ms: int) -> Review:
    """Read everything and compare it with every signed head, kept here or brought from outside.

    ``heads`` have verified signatures. ``signed_at_ms``: when the newest head was signed, 0 if none was.
    """
    watch = _Watch()
    wanted = sorted(heads, key=lambda head: head.size)
    for stored in entries:
        watch.take(stored)
        while wanted and wanted[0].size <= watch.frontier.size:
            watch.compare(wanted.pop(0))
    for head in wanted:
        watch.compare(head)
    if watch.unsigned_since_ms and now_ms - max(signed_at_ms, watch.unsigned_since_ms) > MOST_SILENCE_MS:
        watch.alarm(Fault.STALLED, watch.frontier.size, "entries wait for a signed head for too long")
    return Review(watch.frontier.size, watch.frontier.root(), watch.redacted, tuple(watch.alarms))


class _Watch:
    """What `review` knows so far."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.alarms: list[Alarm] = []
        self.redacted = 0
        #: Time of the first entry that no head covers; 0: all are covered.
        self.unsigned_since_ms = 0
        self._streams: dict[str, int] = {}
        self._prev = NO_PREVIOUS
        self._latest_ms = 0

    def alarm(self, fault: Fault, at: int, message: str) -> None:
        self.alarms.append(Alarm(fault, at, message))

    def take(self, stored: Stored) -> None:
        """Check one entry against those before it, and add it to the tree."""
        entry = stored.entry
        if entry.seq != self.frontier.size:
            self.alarm(Fault.GAP, entry.seq, f"entry {self.frontier.size} is missing")
        if entry.prev != self._prev:
            self.alarm(Fault.CHANGED, entry.seq, f"entry {entry.seq} does not follow from the one before it")
        self.frontier, completed = self.frontier.append(entry.hash())
        if completed != stored.nodes:
            self.alarm(Fault.CHANGED, entry.seq, f"entry {entry.seq} is not what was hashed")
        self._clock(entry)
        self._stream(entry)
        self._opening(stored)
        self._prev = entry.hash().hex()
        self.unsigned_since_ms = self.unsigned_since_ms or entry.at_ms

    def compare(self, head: Head) -> None:
        """Compare a head with the tree as it is now."""
        if head.size > self.frontier.size:
            found = f"a signed head covers {head.size} entries, there are {self.frontier.size}"
            self.alarm(Fault.TRUNCATED, head.size, found)
            return
        if head.root != self.frontier.root():
            self.alarm(Fault.FORK, head.size, f"the signed head of {head.size} entries has another root")
        self.unsigned_since_ms = 0

    def _clock(self, entry: Entry) -> None:
        back = self._latest_ms - entry.at_ms
        if back > CLOCK_SLACK_MS:
            self.alarm(Fault.CLOCK, entry.seq, f"entry {entry.seq} is {back} ms older than one before it")
        self._latest_ms = max(self._latest_ms, entry.at_ms)

    def _stream(self, entry: Entry) -> None:
        if not entry.operation_id:
            return
        expected = self._streams.get(entry.operation_id, 0) + 1
        if entry.stream != expected:
            found = f"entry {entry.seq} is number {entry.stream} of its operation, {expected} was due"
            self.alarm(Fault.GAP, entry.seq, found)
        self._streams[entry.operation_id] = entry.stream

    def _opening(self, stored: Stored) -> None:
        if stored.opening is None:
            self.redacted += 1
        elif not stored.opening.opens(stored.entry):
            self.alarm(
                Fault.OPENING, stored.entry.seq, f"what lies beside entry {stored.entry.seq} is not its"
            )
