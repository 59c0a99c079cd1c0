"""Reads that are known to see every write accepted before they began, though the service is eventually consistent.

The service numbers the writes of each namespace, and says with a query up to which number it sees. So before a
read that must not be stale we write *nothing* (an update of a vector that does not exist), and learn the number
of this moment; every earlier write has a smaller one. Then we wait until queries see the number before ours.
As long as only we write nothing, no waiting is needed: a namespace where nobody writes costs one request.

What is left: the service says so for queries. A fetch that lags behind queries on the same namespace cannot be
told, unless it carries the number too (then it is used). Differences are therefore read again before they count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from pinecone.models.vectors.vector import Vector

from tenant_lifecycle.errors import StoreBusy
from tenant_lifecycle.stores.pinecone.client import Client, batches
from tenant_lifecycle.stores.pinecone.keys import can_exist
from tenant_lifecycle.stores.pinecone.patience import Patience

#: The id that is updated and never exists; no application should use it.
STAMP = "tenant-lifecycle/no-vector-has-this-id"
_PAUSE_S = 0.02

#: Vector by namespace and id; None: it is not there.
Found = dict[tuple[str, str], Vector | None]
#: Ids by namespace.
Wanted = Mapping[str, Iterable[str]]


@dataclass(slots=True)
class _Log:
    """What is known of one namespace's log."""

    #: Our own stamps without a write between them: numbers ``first`` to ``last``.
    first: int = 0
    last: int = 0
    #: Queries saw up to this number.
    seen: int = 0


@dataclass(slots=True)
class Freshness:
    """The logs of one index, as far as this process knows them."""

    client: Client
    _logs: dict[str, _Log] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, namespace: str, patience: Patience) -> int | None:
        """Return when reads see everything that was written to the namespace before this call.

        The number that a read has to have seen; None: the namespace is not there.

        Raises:
            StoreBusy: they do not within the budget.
        """
        stamp = self.client.stamp(namespace, STAMP, patience)
        if stamp is None:
            return None
        needed = self._stamped(namespace, stamp)
        end = time.monotonic() + patience.settle_s
        while self._seen(namespace) < needed:
            self._saw(namespace, self.client.seen(namespace, patience))
            if self._seen(namespace) >= needed:
                break
            if time.monotonic() > end:
                raise StoreBusy(
                    f"{self.client.store}: reads lag more than {patience.settle_s:g} s behind writes",
                    store=self.client.store,
                    next_step="try again when less is written",
                )
            patience.check()
            time.sleep(_PAUSE_S)
        return needed

    def read(self, wanted: Wanted, patience: Patience) -> Found:
        """Read vectors; what was written before the call is seen."""
        return gather(self.begin(wanted, patience))

    def begin(self, wanted: Wanted, patience: Patience) -> list[Future[Found]]:
        """Like `read`, without waiting for it: give the result to `gather`."""
        begun = []
        for namespace, ids in wanted.items():
            once = _Once(self, namespace, patience)
            begun += [
                self.client.pool.submit(self._read_one, once, namespace, batch, patience)
                for batch in batches(sorted(ids))
            ]
        return begun

    def _read_one(self, settled: _Once, namespace: str, ids: list[str], patience: Patience) -> Found:
        found: Found = {(namespace, id): None for id in ids}
        possible = [id for id in ids if can_exist(id)]
        if not possible or not can_exist(namespace):
            return found
        needed = settled.needed()
        if needed is None:
            return found
        end = time.monotonic() + patience.settle_s
        while True:
            vectors, saw = self.client.fetch(namespace, possible, patience)
            if saw is None or saw >= needed or time.monotonic() > end:
                break
            time.sleep(_PAUSE_S)
        if saw is not None and saw < needed:
            raise StoreBusy(f"{self.client.store}: reads lag behind writes", store=self.client.store)
        found.update({(namespace, id): vector for id, vector in vectors.items()})
        return found

    def _stamped(self, namespace: str, stamp: int) -> int:
        """Remember our stamp; the number of the last write that may be somebody else's."""
        with self._lock:
            log = self._logs.setdefault(namespace, _Log())
            if stamp != log.last + 1:
                log.first = stamp
            if stamp <= log.last:
                # Numbers began anew: the namespace was deleted and is another one.
                log.seen = 0
            log.last = stamp
            return log.first - 1

    def _seen(self, namespace: str) -> int:
        with self._lock:
            return self._logs[namespace].seen

    def _saw(self, namespace: str, number: int) -> None:
        with self._lock:
            log = self._logs[namespace]
            log.seen = max(log.seen, number)


class _Once:
    """Settles a namespace for all reads of one call together."""

    def __init__(self, freshness: Freshness, namespace: str, patience: Patience) -> None:
        self._lock = threading.Lock()
        self._settle: Callable[[], int | None] = lambda: freshness.settle(namespace, patience)
        self._needed: int | None = None
        self._done = False

    def needed(self) -> int | None:
        """The number that a read has to have seen, when it can; who comes first does the work."""
        with self._lock:
            if not self._done:
                self._needed, self._done = self._settle(), True
            return self._needed


def gather(futures: Iterable[Future[Found]]) -> Found:
    """Everything that was begun; the first error, if there was one, when all have ended."""
    found: Found = {}
    error: BaseException | None = None
    for future in futures:
        try:
            found.update(future.result())
        except Exception as exc:
            error = error or exc
    if error is not None:
        raise error
    return found
