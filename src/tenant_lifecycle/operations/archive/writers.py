"""For whom an environment's log is the truth: tenants whose writer it is, from the beginning of a stretch to its end."""

from __future__ import annotations

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.archive.line import Broken
from tenant_lifecycle.stores.base import Fences, FenceState

_WRITERS = (FenceState.ACTIVE, FenceState.FENCED)


class Writers:
    """Asks the fence rows at both ends of every stretch.

    After a flip the old side is a copy that is a little late, so its log does not say exactly what was at a moment.
    """

    def __init__(self, judge: Fences | None) -> None:
        self._judge = judge
        self._elsewhere: dict[TenantId, str] = {}

    def broken(self, tenants: list[TenantId]) -> Broken:
        """Tenants for whom the stretch that ends now is not exact."""
        before, self._elsewhere = self._elsewhere, self._now(tenants)
        return {**before, **self._elsewhere}

    def _now(self, tenants: list[TenantId]) -> dict[TenantId, str]:
        if self._judge is None:
            return {}
        rows = {tenant: self._judge.fence_row(tenant) for tenant in tenants}
        return {
            tenant: "its writes were accepted by another environment"
            for tenant, row in rows.items()
            if row is not None and row.state not in _WRITERS
        }
