"""The ability to hold a tenant's writes for a maintenance window, beside `base.Fences`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tenant_lifecycle.model.names import TenantId


@runtime_checkable
class Windows(Protocol):
    """A fencing store that can hold one tenant's writes for a maintenance window: refused, with the window's end.

    The fence lives for as short as any other and is renewed, so that writes go on by themselves when nobody renews
    it. No renewal goes beyond the window's end, by the store's own clock.
    """

    def hold_writes(
        self, tenant: TenantId, epoch: int, ttl_s: float, budget_s: float, window_s: float
    ) -> str:
        """ACTIVE at ``epoch`` -> FENCED for a window that ends in ``window_s``; returns the ticket.

        Raises:
            StoreBusy, WrongState: as `Fences.fence`.
        """

    def renew(self, tenant: TenantId, ticket: str, ttl_s: float) -> str | None:
        """The same fencing under a new ticket and a later deadline; nobody could write in between.

        None: it ran out or another took its place, so somebody may have written; or its row was in use.
        """

    def tighten(self, tenant: TenantId, epoch: int, ticket: str, ttl_s: float, budget_s: float) -> str:
        """The window's fencing becomes a flip's: drain who passed (rows that tenants share), let everybody wait.

        Raises:
            StoreBusy: not drained within the budget; the window goes on under the old ticket.
            WrongState: the fencing is lost.
        """

    def loosen(self, tenant: TenantId, ticket: str, ttl_s: float, window_s: float) -> str | None:
        """A flip was given up: back to a window that ends in ``window_s``; None as `renew`."""
