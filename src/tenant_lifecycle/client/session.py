"""What a block gets: the transaction, and stores whose keys are entered in the journal before they are written."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psycopg

from tenant_lifecycle.client.counts import Counts
from tenant_lifecycle.client.door import Door, Entered
from tenant_lifecycle.client.gate import Connection
from tenant_lifecycle.client.outcome import BlockEnded, JournalUnreachable
from tenant_lifecycle.errors import UsageError

if TYPE_CHECKING:
    from tenant_lifecycle.client.objects import Objects
    from tenant_lifecycle.client.redis import RedisKeys
    from tenant_lifecycle.client.vectors import Vectors

Result = TypeVar("Result")
#: The state of a key that only the store knows.
UNREAD = object()
#: So long the database's word counts that the block's transaction runs, seconds.
CONFIRM_S = 0.05


class StoreSide(Protocol):
    """One store in one environment, as the wrappers and the mirror need it. Safe to share by threads."""

    #: Its name inside the environment, as in the journal.
    name: str

    def answered(self, error: BaseException) -> bool:
        """Whether the error is the store's answer, so that no request is under way any more."""

    def mirror(self, target: Any, keys: Mapping[bytes, object], timeout_s: float) -> int:
        """Make the target's keys what they are here now; return how many were left out.

        With each key comes what the block knows of its state, `UNREAD` for nothing.
        """

    def close(self) -> None:
        """End connections of our own."""


@dataclass(frozen=True, slots=True)
class Place:
    """One environment, opened for blocks."""

    name: str
    door: Door
    #: By the store's name.
    sides: Mapping[str, StoreSide]


class Session:
    """One run of a block, in the thread that runs it."""

    def __init__(
        self,
        tenant: str,
        place: Place,
        postgres: Connection,
        entered: Entered,
        limit_s: float,
        counts: Counts,
    ) -> None:
        self.tenant = tenant
        #: The transaction's connection; do not end the transaction.
        self.postgres = postgres
        self.entered = entered
        self._place = place
        self._ends_at = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._counts = counts
        self._confirmed_at = -CONFIRM_S
        self._must_fail: JournalUnreachable | None = None
        #: Keys written in this block, by store, in order, each once, and what is known of their state.
        self.written: dict[str, dict[bytes, object]] = {}

    @property
    def environment(self) -> str:
        """Where the block runs: the tenant's writer."""
        return self._place.name

    @property
    def epoch(self) -> int:
        return self.entered.epoch

    def redis(self, name: str = "redis") -> RedisKeys:
        """A Redis of this environment, by its name in ``lifecycle.yaml``."""
        from tenant_lifecycle.client.redis import RedisKeys, RedisSide

        return RedisKeys(self, self._side(name, RedisSide))

    def vectors(self, name: str = "vectors") -> Vectors:
        """A vector index of this environment."""
        from tenant_lifecycle.client.vectors import Vectors, VectorSide

        return Vectors(self, self._side(name, VectorSide))

    def objects(self, name: str = "objects") -> Objects:
        """A bucket of this environment."""
        from tenant_lifecycle.client.objects import Objects, ObjectSide

        return Objects(self, self._side(name, ObjectSide))

    def _side(self, name: str, kind: type[Result]) -> Result:
        side = self._place.sides.get(name)
        if not isinstance(side, kind):
            raise UsageError(
                f"environment {self.environment} has no store {name!r} of that kind",
                next_step=f"stores given to the client: {', '.join(sorted(self._place.sides)) or 'none'}",
            )
        return side

    def write(
        self,
        side: StoreSide,
        keys: Sequence[bytes],
        act: Callable[[], Result],
        states: Mapping[bytes, object] | None = None,
    ) -> Result:
        """Enter the keys, then write them. For the wrappers of stores; ``act`` is one request and its answer.

        ``states``: what the keys are once it was answered, for the mirror of a store that shows it later.

        Raises:
            BlockEnded: the tenant's lock may be gone; nothing was written.
            JournalUnreachable: nothing was written, or nobody can keep the keys open: the block must fail.
        """
        self._refuse_without_lock()
        if not self.entered.journaling:
            return act()
        self._enter(side.name, keys)
        try:
            result = act()
        except BaseException as exc:
            if not side.answered(exc):
                self.hold(side.name, keys)
            raise
        self.written[side.name].update(states or {})
        return result

    def _enter(self, store: str, keys: Sequence[bytes]) -> None:
        """Keys stay entered while the transaction runs, which the journal is asked again once in a while."""
        written = self.written.setdefault(store, {})
        lately = time.monotonic() - self._confirmed_at < CONFIRM_S
        if lately and all(key in written for key in keys):
            written.update(dict.fromkeys(keys, UNREAD))
            return
        assert self.entered.holder is not None
        began = time.monotonic()
        self._place.door.touch(self.tenant, store, keys, self.entered.holder)
        self._confirmed_at = began
        self._counts.add("keys_entered", len(keys))
        written.update(dict.fromkeys(keys, UNREAD))
        # Entering took a round trip; a frozen process takes longer.
        self._refuse_without_lock()

    def hold(self, store: str, keys: Sequence[bytes]) -> None:
        """A request for these keys may still be under way: keep them open for the quarantine.

        If the journal does not answer, the block fails, so that its own entries stay open that long.
        """
        try:
            self._place.door.hold(self.tenant, store, keys)
        except JournalUnreachable as exc:
            self._must_fail = exc
            return
        self._counts.add("keys_held", len(keys))

    def left_s(self) -> float:
        """Seconds until the block may not write to stores any more."""
        return self._ends_at - time.monotonic()

    def finish(self) -> None:
        """Before the commit.

        Raises:
            JournalUnreachable: the block must not be committed.
        """
        if self._must_fail is not None:
            raise self._must_fail

    def settle(self) -> None:
        """After an orderly rollback: every request was answered, or its keys are held."""
        if self.written and self._must_fail is None and self.entered.holder is not None:
            self._place.door.settle(self.tenant, self.entered.holder)

    def _refuse_without_lock(self) -> None:
        """The lock lives as long as the transaction, and that may end without us: be as sure as can be."""
        if self.left_s() <= 0:
            raise BlockEnded(
                f"this block of tenant {self.tenant} has run for more than {self._limit_s:g} s",
                next_step="write to stores in short blocks, or raise block_limit_s",
            )
        status = self.postgres.info.transaction_status.name
        if status != "INTRANS" or not self._connected():
            raise BlockEnded(
                f"the transaction of this block of tenant {self.tenant} failed or has ended ({status})",
                next_step="let the error out of the block, and repeat it",
            )

    def _connected(self) -> bool:
        conn = self.postgres
        try:
            # The server's good-bye is read first, that nothing follows it only by the next reading.
            for _ in range(3):
                if select.select([conn.fileno()], [], [], 0)[0]:
                    conn.pgconn.consume_input()
            return conn.pgconn.status == psycopg.pq.ConnStatus.OK
        except (psycopg.Error, OSError, ValueError):
            return False
