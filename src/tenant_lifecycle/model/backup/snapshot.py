"""Which transactions a base contains: a snapshot of PostgreSQL, and the rule for replay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``pg_current_snapshot()`` in 64-bit transaction numbers, and an LSN from which the log has all that it does not see."""

    xmin: int
    xmax: int
    running: frozenset[int]
    #: Nobody whom the snapshot does not see had committed before it (`stores/postgres/backup/snapshot.py`).
    lsn: int

    def sees(self, xid: int) -> bool:
        """Whether the base has what the (committed) transaction did. Replay applies a frame iff it does not.

        Exact where LSN order is not: a commit is in the log before it is visible (backup note 2.7).
        """
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)

    @classmethod
    def parse(cls, text: str, lsn: int) -> Snapshot:
        """From PostgreSQL's text form ``xmin:xmax:xip,xip``."""
        low, high, running = text.split(":")
        return cls(int(low), int(high), frozenset(int(one) for one in running.split(",") if one), lsn)
