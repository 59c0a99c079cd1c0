"""The running part of a migration: feeds, followers and proofs, alive while one driver drives.

The journal says what was done; this holds what must run meanwhile. Nothing in it needs to survive: the next
driver opens its own, followers go on where the stores say they were, and what was proved is proved anew.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Event, Operation
from tenant_lifecycle.model.policy import MigrationPolicy
from tenant_lifecycle.operations.erase.emptying import Emptying
from tenant_lifecycle.operations.migrate import feeds
from tenant_lifecycle.operations.migrate.flip import Direction
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.operations.proof import Proof
from tenant_lifecycle.stores.base import Check, Feed, Fences, Follower, Keys
from tenant_lifecycle.traffic.steering import Steering

if TYPE_CHECKING:
    from tenant_lifecycle.operations.migrate.comparing import DataWatch
    from tenant_lifecycle.operations.migrate.holding import HeldWindow

FORWARD = "fwd"
BACK = "rev"


def feed_name(operation_id: str, way: str) -> str:
    """Name of a feed: slots, publications and spool folders are called so. [a-z0-9_], at most 50."""
    plain = "".join(c for c in operation_id.lower() if c.isascii() and c.isalnum())
    return f"tl_{plain[-32:]}_{way}"


@dataclass
class Session:
    """What one driver keeps open for one migration."""

    operation_id: str
    tenant: TenantId
    token: int
    pair: Pair
    policy: MigrationPolicy
    #: Folder for spools, of this operation alone.
    folder: Path
    #: Called when the session is left.
    close_stores: Callable[[], None] = lambda: None
    #: Routers and health sources; None: requests are nobody's business here.
    steering: Steering | None = None
    #: Folder for post-mortems.
    reports: Path = Path("postmortems")
    #: The operation's events until now, for the post-mortem.
    history: Callable[[], Sequence[Event]] = lambda: ()
    #: The eraser for the old side; None: stores take the tenant away as they do when a move is aborted.
    emptying: Emptying | None = None
    #: Compares data in a thread that was told to end; it is waited for before the proofs are used.
    data_watch: DataWatch | None = None
    #: The environments with all their stores, where ``pair`` has none because no data moves.
    shared: Pair | None = None
    #: The maintenance window that is open and held by this driver; None: writes go on, or the tenant has moved.
    window: HeldWindow | None = None
    _followers: dict[tuple[str, str], Follower] = field(default_factory=dict)
    _applying: set[tuple[str, str]] = field(default_factory=set)
    _proofs: dict[tuple[str, str], Proof] = field(default_factory=dict)
    #: Store, and how many of its items somebody wrote past the fence; not told yet.
    _foreign_writes: list[tuple[str, int]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def way(self, way: str) -> Pair:
        """The environments in the order of that direction."""
        return self.pair if way == FORWARD else self.pair.reversed()

    def fences(self, way: str) -> tuple[Fences, Fences]:
        """The fences of that direction's source and target: they alone say who the writer is."""
        judge = self.way(way).judge
        assert isinstance(judge.source, Fences) and isinstance(judge.target, Fences)
        return judge.source, judge.target

    def feed(self, way: str) -> Feed:
        return Feed(feed_name(self.operation_id, way), self.tenant, self.token)

    def follower(self, way: str, pair: StorePair, *, applying: bool) -> Follower:
        """The running follower of one store in one direction; started on first use."""
        key = (way, pair.name)
        with self._lock:
            follower = self._followers.get(key)
            if follower is None:
                spool = self.folder / f"{pair.name}-{way}"
                follower = feeds.follower(self.way(way), pair, self.feed(way), spool)
                follower.start()
                self._followers[key] = follower
            if applying and key not in self._applying:
                follower.apply()
                self._applying.add(key)
        return follower

    def followers(self, way: str, *, applying: bool = True) -> dict[str, Follower]:
        """All of one direction, by store name."""
        return {p.name: self.follower(way, p, applying=applying) for p in self.way(way).stores}

    def proof(self, way: str, pair: StorePair, check: Check) -> Proof:
        """The proof of one store in one direction; empty until it is verified."""
        key = (way, pair.name)
        proof = self._proofs.get(key)
        if proof is None:
            follower = self.follower(way, pair, applying=True)
            proof = Proof(
                pair,
                self.feed(way),
                follower,
                check,
                take_foreign=lambda: self._foreign(way, pair.name),
                on_foreign=lambda number: self._foreign_writes.append((pair.target.name, number)),
                max_repairs=self.policy.max_repairs,
            )
            self._proofs[key] = proof
        proof.check = check
        return proof

    def _foreign(self, way: str, store: str) -> Keys:
        """What was written on ``way``'s target past the fence, as the other direction's feed has seen it."""
        other = self._followers.get((BACK if way == FORWARD else FORWARD, store))
        return other.take_foreign() if other is not None else {}

    def tell_foreign_writes(self, tell: Callable[..., None]) -> None:
        """Put into the operation's history what was written past the fence since the last call."""
        while self._foreign_writes:
            store, number = self._foreign_writes.pop(0)
            tell("foreign-writes", store=store, items=number)

    def direction(self, way: str, check: Check) -> Direction:
        """Everything a flip that way needs, running."""
        other = BACK if way == FORWARD else FORWARD
        pair = self.way(way)
        return Direction(
            pair=pair,
            tenant=self.tenant,
            proofs={p.name: self.proof(way, p, check) for p in pair.stores},
            way_back=self.followers(other),
            fencing=self.window if way == FORWARD else None,
        )

    def turned(self, way: str, check: Check, epochs: Mapping[str, str]) -> None:
        """After a flip that ``way``: both sides were equal, so the other direction starts out proved.

        ``epochs`` are those of the other direction's feeds from before the last comparison, by store.
        """
        other = BACK if way == FORWARD else FORWARD
        for pair in self.way(other).stores:
            before = self._proofs[(way, pair.name)]
            self.proof(other, pair, check).take_over(before, epochs[pair.name])

    def check_followers(self) -> None:
        """Raise the error that stopped a running follower, if one stopped."""
        for follower in list(self._followers.values()):
            follower.check()

    def check_window(self) -> None:
        """A safe point of a move in a window, if this is one.

        Raises:
            WindowOver: it has ended.
        """
        if self.window is not None:
            self.window.check()

    def end_window(self) -> None:
        """Let writes go on, if a window is open."""
        window, self.window = self.window, None
        if window is not None:
            window.end()

    def stop_following(self) -> None:
        """Stop every follower; the feeds stay, and a later follower goes on where these stopped."""
        with self._lock:
            for follower in self._followers.values():
                follower.stop()
            self._followers.clear()
            self._applying.clear()
            self._proofs.clear()

    def forget_spools(self) -> None:
        """Delete what was spooled; only after the feeds were dropped."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        if self.data_watch is not None:
            self.data_watch.ask_to_stop()
        self.end_window()
        self.stop_following()
        self.close_stores()
        if self.steering is not None:
            self.steering.close()


#: Opens a `Session` for an operation and a driver token; wiring provides it.
OpenSession = Callable[[Operation, int], Session]
