"""What is wrong with the emulator right now: latency, throttling, errors, staleness, a standstill."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Faults:
    """All of them; the default is none."""

    #: Every request takes this long, plus up to ``jitter_ms`` at random.
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    #: Share of requests that get 429, 0 to 1.
    throttle: float = 0.0
    #: More requests per second than this get 429; 0: no limit.
    rate: float = 0.0
    #: The Retry-After of a 429, seconds; 0: without the header.
    retry_after_s: float = 0.0
    #: Share of requests that get 503, 0 to 1.
    errors: float = 0.0
    #: Reads do not see a write before this time is over.
    stale_ms: float = 0.0
    #: Requests are taken and not answered until this is off again.
    frozen: bool = False

    def changed(self, values: dict[str, Any]) -> Faults:
        """These with some changed.

        Raises:
            ValueError: no such fault, or no number.
        """
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no fault is called {unknown[0]!r}; known: {', '.join(sorted(known))}")
        typed = {name: bool(value) if name == "frozen" else float(value) for name, value in values.items()}
        return replace(self, **typed)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that a fault gives in the place of the service."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Trouble:
    """Applies the faults to requests, one after the other."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._thawed = asyncio.Event()
        self._second, self._seen = 0, 0
        self.set(faults)

    def set(self, faults: Faults) -> None:
        self.faults = faults
        if faults.frozen:
            self._thawed.clear()
        else:
            self._thawed.set()

    async def meet(self) -> Refused | None:
        """Wait as the faults say; what to answer instead, None to go on."""
        await self._thawed.wait()
        faults = self.faults
        if faults.latency_ms or faults.jitter_ms:
            await asyncio.sleep((faults.latency_ms + random.random() * faults.jitter_ms) / 1000)
        if random.random() < faults.errors:
            return Refused(503, "the emulator was told to fail")
        if random.random() < faults.throttle or self._too_many(faults.rate):
            after = str(faults.retry_after_s).encode()
            headers = ((b"retry-after", after),) if faults.retry_after_s else ()
            return Refused(429, "the emulator was told to throttle", headers)
        return None

    def _too_many(self, rate: float) -> bool:
        if not rate:
            return False
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        return self._seen > rate
