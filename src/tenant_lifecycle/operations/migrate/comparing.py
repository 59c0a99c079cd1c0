"""The data of both sides, compared in a thread of its own while requests move from one to the other.

The gates must be looked at every second, and comparing everything may take an hour: so they are apart. Every
step compares everything once, then what is touched, and everything again and again with pauses that keep the
cost down. While the target serves requests *any* difference
counts, also one that was mended: somebody may have been answered from it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from tenant_lifecycle.engine.steps import Interrupted, StepContext
from tenant_lifecycle.errors import Fenced, LeaseLost, LifecycleError, StoreBusy, StoreUnavailable
from tenant_lifecycle.model.operation import Json
from tenant_lifecycle.model.shifting import DataState
from tenant_lifecycle.operations.migrate.proving import ensure_proved
from tenant_lifecycle.operations.migrate.provision import keep_counters_ahead
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.operations.proof import Proof
from tenant_lifecycle.stores.base import Check

#: How often the dirty items are looked at.
LOOK_S = 1.0
#: Between two full comparisons: so many times what the last one took, and at least so long.
PAUSE_TIMES, LEAST_PAUSE_S = 10.0, 5.0


@dataclass(frozen=True)
class _Apart:
    """What comparing needs of a step, with safe points of its own."""

    session: Session
    check: Check


def look(session: Session, way: str, check: Check, event: Callable[..., None]) -> Json:
    """Bring the proof of the next flip up to date; say whether that flip is ready.

    A store that is away for a while is no error: the tenant works on the other side meanwhile.
    """
    try:
        session.followers(FORWARD)
        session.followers(BACK)
        session.check_followers()
        keep_counters_ahead(session, way)
        ensure_proved(cast("StepContext", _Apart(session, check)), way)
        dirty, lag_s = 0, 0.0
        for pair in session.way(way).stores:
            proof = session.proof(way, pair, check)
            dirty += proof.shrink()
            lag_s = max(lag_s, proof.follower.lag().seconds)
        session.tell_foreign_writes(event)
    except (StoreUnavailable, StoreBusy) as error:
        return {"ready": False, "not_ready": str(error)}
    return {"ready": True, "not_ready": None, "dirty": dirty, "lag_s": round(lag_s, 3)}


class _Stopped(Exception):
    """The watch is to end; raised at the next safe point of its thread."""


class DataWatch:
    """Compares from `start` to `stop`; the proofs belong to its thread meanwhile."""

    def __init__(self, ctx: StepContext) -> None:
        self._session: Session = ctx.session
        self._check, self._event = ctx.check, ctx.event
        self._began = time.time()
        self._state = DataState()
        self._detail: Json = {"ready": False, "not_ready": "the data is being looked at"}
        self._repaired: int | None = None
        #: On the monotonic clock.
        self._verify_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"data {self._session.operation_id}", daemon=True
        )

    def start(self) -> DataWatch:
        self._thread.start()
        return self

    @property
    def state(self) -> DataState:
        """What is known now."""
        return self._state

    @property
    def detail(self) -> Json:
        """The same for watchers: ready, dirty, lag."""
        return self._detail

    def ask_to_stop(self) -> None:
        """Do not wait for it; `stop` does."""
        self._stopping.set()

    def stop(self) -> None:
        """End the thread and wait for it; the proofs are free afterwards. Safe to repeat."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _safe_point(self) -> None:
        if self._stopping.is_set():
            raise _Stopped
        self._check()

    def _run(self) -> None:
        try:
            self._repaired = self._count_repaired()
            while True:
                self._look()
                if self._state.wrong:
                    return
                if self._state.ready and time.monotonic() >= self._verify_at:
                    self._verify()
                elif self._stopping.wait(LOOK_S):
                    return
        except (_Stopped, Interrupted, LeaseLost, Fenced):
            return
        except LifecycleError as error:
            self._wrong(str(error))
        except Exception as error:
            self._wrong(f"the data cannot be compared: unexpected {type(error).__name__}")

    def _look(self) -> None:
        detail = look(self._session, FORWARD, self._safe_point, self._event)
        self._detail = detail
        self._state = DataState(
            ready=bool(detail["ready"]),
            verified=self._verified(),
            not_ready=str(detail["not_ready"] or ""),
            wrong=self._difference(),
        )

    def _verify(self) -> None:
        """Compare everything; a store that is away meanwhile is tried again with a later look."""
        began = time.monotonic()
        try:
            for proof in self._proofs():
                proof.verify()
            self._verify_at = time.monotonic() + max(LEAST_PAUSE_S, PAUSE_TIMES * (time.monotonic() - began))
        except (StoreUnavailable, StoreBusy) as error:
            self._state = DataState(not_ready=str(error))
            self._stopping.wait(LOOK_S)

    def _proofs(self) -> list[Proof]:
        return [self._session.proof(FORWARD, p, self._safe_point) for p in self._session.way(FORWARD).stores]

    def _verified(self) -> bool:
        return all(proof.complete and proof.verified_at >= self._began for proof in self._proofs())

    def _count_repaired(self) -> int:
        return sum(len(proof.repaired) for proof in self._proofs())

    def _difference(self) -> str:
        """What was found different (and mended) since the step began."""
        found = self._count_repaired() - (self._repaired or 0)
        if not found:
            return ""
        sets = sorted({name for proof in self._proofs() for name, _ in proof.repaired})
        return f"{found} item(s) of the target differed and were made equal, in {', '.join(sets)}"

    def _wrong(self, why: str) -> None:
        self._detail = {"ready": False, "not_ready": why}
        self._state = DataState(not_ready=why, wrong=why)
