"""Asking a service that may be busy: refusals are waited out within a budget, then told in our own errors.

The official client asks again by itself, but for as long as the service says, up to minutes, and behind our
back. So its own repetition is switched off (`client.py`), and every call goes through `ask`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pinecone
from pinecone import errors as driver

from tenant_lifecycle.errors import StoreBusy, StoreError, StoreRejected, StoreUnavailable
from tenant_lifecycle.stores.base import Check

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
#: Statuses that pass by themselves.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


def _go_on() -> None:
    """The check of a caller that has none."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may be repeated."""

    #: Seconds that throttling (429) and failures of the service (5xx) are waited out.
    busy_s: float = 30.0
    #: Seconds that a service is waited for which does not answer at all.
    unreachable_s: float = 1.0
    #: Seconds that writes may take to become visible to reads.
    settle_s: float = 30.0
    #: Seconds one request may take.
    timeout_s: float = 15.0
    check: Check = _go_on


#: For what happens under a fence: a few keys, and somebody waits.
QUICK = Patience(busy_s=2.0, unreachable_s=0.3, settle_s=2.0, timeout_s=3.0)


def ask(store: str, call: Callable[[], T], patience: Patience) -> T:
    """Make the call, again while the service is busy and the budget lasts.

    Raises:
        StoreBusy: throttled for longer than the budget.
        StoreUnavailable: no answer, or failures for longer than the budget.
        StoreRejected: the service said no.
        driver.NotFoundError: passed on; what is missing is for the caller to say.
    """
    began = time.monotonic()
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return call()
        except driver.NotFoundError:
            raise
        except pinecone.PineconeError as exc:
            failure = exc
        error, budget_s = _translated(store, failure, patience)
        wait_s = max(random.uniform(pause / 2, pause), _asked_for(failure))
        if time.monotonic() - began + wait_s > budget_s:
            raise error from failure
        patience.check()
        time.sleep(wait_s)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _asked_for(exc: Exception) -> float:
    """Seconds that the service asked us to wait."""
    return (exc.retry_after or 0.0) if isinstance(exc, driver.RateLimitError) else 0.0


def _translated(store: str, exc: pinecone.PineconeError, patience: Patience) -> tuple[StoreError, float]:
    """Our error, and for how many seconds it is worth asking again.

    Messages of the service may quote ids and metadata, so only its status and code are told.
    """
    match exc:
        case driver.RateLimitError():
            return StoreBusy(
                f"{store}: the service throttles us (429)",
                store=store,
                next_step="wait, or ask the provider for higher limits",
            ), patience.busy_s
        case driver.ApiError(status_code=int(status)) if status in _PASSING:
            return StoreUnavailable(f"{store}: the service answers {status}", store=store), patience.busy_s
        case driver.PineconeTimeoutError():
            return StoreUnavailable(
                f"{store}: no answer in time", store=store, next_step="tenantctl doctor"
            ), patience.unreachable_s
        case driver.PineconeConnectionError():
            return StoreUnavailable(
                f"{store}: the connection failed", store=store, next_step="tenantctl doctor"
            ), patience.unreachable_s
        case driver.UnauthorizedError() | driver.ForbiddenError():
            step = "check the api_key of this store"
        case driver.PaymentRequiredError():
            step = "the project's quota is used up; raise it with the provider"
        case _:
            step = ""
    code: int | None = getattr(exc, "status_code", None)
    said = f"the service answers {code} {getattr(exc, 'error_code', None) or ''}".strip()
    if code is None:
        said = f"the client refuses the request ({type(exc).__name__})"
    return StoreRejected(f"{store}: {said}", store=store, next_step=step), 0.0
