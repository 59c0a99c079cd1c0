"""One sweeper at a time: a lease of write-once objects, whose numbers only grow.

``care/lease/<number>.lease`` is created by whoever takes or renews it; a conditional create lets one win. The
number is the fencing token: a holder that is not the newest any more stops. Storage cannot refuse a late deletion,
so a deletion is only begun while a tenth of the lease is left, and only of what was marked a grace time ago.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tenant_lifecycle.backups.care.signed import Signs, read_signed, signed
from tenant_lifecycle.backups.contract import Storage
from tenant_lifecycle.errors import LeaseLost, RepositoryRejected, WrongState

_FOLDER = "care/lease/"
_NAME = re.compile(r"care/lease/(\d{10})\.(lease|done)")
TTL_S = 600.0
#: The storage's clock and ours may differ by so much.
MOST_SKEW_S = 60.0
#: Leases that stay for people to look at.
_REMEMBERED = 20


@dataclass(slots=True)
class SweeperLease:
    """Held until `release`, or until its time is over."""

    storage: Storage
    signs: Signs
    owner: str
    now: Callable[[], float]
    ttl_s: float
    token: int = 0
    #: By the monotonic clock, which nobody sets.
    _until: float = 0.0

    @classmethod
    def acquire(
        cls, storage: Storage, signs: Signs, owner: str, now: Callable[[], float], ttl_s: float = TTL_S
    ) -> SweeperLease:
        """
        Raises:
            WrongState: another sweeper has it.
            RepositoryRejected: the storage's clock and ours differ too much to tell how old anything is.
        """
        lease = cls(storage, signs, owner, now, ttl_s)
        newest, finished = lease._newest()
        if newest and newest not in finished:
            lease._refuse_if_held(newest)
        lease._take(newest + 1)
        lease._refuse_skew()
        lease._forget_old()
        return lease

    def check(self) -> None:
        """To be called before every deletion; renews when half of the time is over.

        Raises:
            LeaseLost: its time is over, or another sweeper has it.
        """
        left = self._until - time.monotonic()
        if left < self.ttl_s / 10:
            raise LeaseLost(
                f"{self.storage.where}: the sweeper's lease {self.token} ran out",
                next_step="run tenantctl backup prune again",
            )
        if left < self.ttl_s / 2:
            if self._newest()[0] != self.token:
                raise self._lost()
            self._take(self.token + 1)

    def release(self) -> None:
        """Let the next one begin."""
        name = _name(self.token, "done")
        self.storage.put(name, signed(name, {"owner": self.owner}, self.signs))

    def _take(self, number: int) -> None:
        name = _name(number, "lease")
        began = time.monotonic()
        body = {"owner": self.owner, "until_us": round((self.now() + self.ttl_s) * 1_000_000)}
        if not self.storage.put(name, signed(name, body, self.signs)) or self._newest()[0] != number:
            raise self._lost() if self.token else _busy(self.storage, number, "was quicker")
        self.token, self._until = number, began + self.ttl_s

    def _refuse_if_held(self, number: int) -> None:
        name = _name(number, "lease")
        held = read_signed(name, self.storage.get(name), self.signs)
        left_s = int(held["until_us"]) / 1_000_000 - self.now()
        if left_s > 0:
            raise _busy(self.storage, number, f"has it, for {left_s:.0f} s more: {held['owner']}")

    def _refuse_skew(self) -> None:
        name = _name(self.token, "lease")
        (modified,) = [at for found, _, at in self.storage.names(name) if found == name]
        skew_s = modified - self.now()
        if abs(skew_s) > MOST_SKEW_S:
            self.release()
            raise RepositoryRejected(
                f"{self.storage.where}: its clock and ours differ by {abs(skew_s):.0f} s, so nobody can tell how old "
                f"an object is; at most {MOST_SKEW_S:.0f} s are borne. Nothing was deleted",
                where=self.storage.where, next_step="set this machine's clock by NTP, then prune again",
            )  # fmt: skip

    def _newest(self) -> tuple[int, frozenset[int]]:
        found: dict[str, set[int]] = {"lease": set(), "done": set()}
        for name, _, _ in self.storage.names(_FOLDER):
            if match := _NAME.fullmatch(name):
                found[match[2]].add(int(match[1]))
        return max(found["lease"] | found["done"], default=0), frozenset(found["done"])

    def _forget_old(self) -> None:
        for name, _, _ in list(self.storage.names(_FOLDER)):
            match = _NAME.fullmatch(name)
            if match and int(match[1]) <= self.token - _REMEMBERED:
                self.storage.delete(name)

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"{self.storage.where}: another sweeper took over from lease {self.token}",
            next_step="let it finish; tenantctl backup prune shows what is left",
        )


def _name(number: int, suffix: str) -> str:
    return f"{_FOLDER}{number:010d}.{suffix}"


def _busy(storage: Storage, number: int, what: str) -> WrongState:
    return WrongState(
        f"{storage.where}: another sweeper (lease {number}) {what}", next_step="wait until it has finished"
    )
