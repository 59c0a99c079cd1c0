"""Where in the log a moment ends, and what people may say instead of a time: a position, a transaction, a mark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tenant_lifecycle.errors import NotRestorable
from tenant_lifecycle.model.backup.items import Frame


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything up to this moment.

    A log with transactions is cut before its first commit that is later: commit times do not grow with the order
    of commits, and an effect must not stay without its cause. Writes without an order are taken by their time.
    """

    at_us: int
    #: The log of this store is cut before this position instead, and only there.
    store: str = ""
    before: int | None = None

    def ends(self, store: str, frame: Frame) -> bool:
        """Whether a log with transactions is cut before this one."""
        if self.before is not None and store == self.store:
            return frame.position >= self.before
        return frame.at_us > self.at_us

    def through_us(self, store: str) -> int | None:
        """The time up to which the store's log has to be read; None: to the position."""
        return None if self.before is not None and store == self.store else self.at_us


def before_position(store: str, frames: Iterable[Frame], position: int) -> Cut:
    """The moment before the commit at or after this position; other stores are taken a microsecond earlier than it.

    Raises:
        NotRestorable: the log has no commit there.
    """
    return _before(store, (frame for frame in frames if frame.position >= position), f"position {position}")


def before_transaction(store: str, frames: Iterable[Frame], xid: int) -> Cut:
    """The moment before this transaction's commit.

    Raises:
        NotRestorable: the log does not have it: it did not commit, or touched nothing of the tenant.
    """
    return _before(store, (frame for frame in frames if frame.xid == xid), f"transaction {xid}")


def _before(store: str, found: Iterator[Frame], what: str) -> Cut:
    frame = next(found, None)
    if frame is None:
        raise NotRestorable(
            f"the change log of {store} has no commit of the tenant at {what}",
            next_step="name a time instead; tenantctl backup window shows which there are",
        )
    return Cut(frame.at_us - 1, store, frame.position)
