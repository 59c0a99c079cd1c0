"""Emptying one store of an environment that a tenant has left: the eraser's manifest, holds and verification,
without a request and without a certificate, for the tenant lives on elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.engine.steps import StepContext
from tenant_lifecycle.errors import StoreRejected, VerificationFailed
from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.batches import Deleting
from tenant_lifecycle.operations.erase.ports import Gate, Manifests
from tenant_lifecycle.operations.erase.session import erasing_name
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.erasing import Closes, Erases, Erasing, Searches


@dataclass(frozen=True, slots=True)
class Emptying:
    """What it takes besides the store."""

    gate: Gate
    manifests: Manifests
    #: The environment's systems with the verifier's credentials, by name (``blue/postgres``).
    verifiers: Mapping[str, Store]

    def hold_on(self, tenant: TenantId, system: str) -> Hold | None:
        """A hold that keeps something of the tenant in this system."""
        holds = self.gate.blocking([tenant])
        return next(
            (one for one in holds if one.covers(system) or (one.sets and _is_about(one, system))), None
        )

    def empty(self, ctx: StepContext, tenant: TenantId, system: str, store: Erases) -> Mapping[str, Any]:
        """Freeze, delete, and look whether it is gone; one attempt of the step is one round.

        Returns:
            ``deleted``, and ``held``: matters of holds by set; with one in it something stayed.

        Raises:
            StoreRejected: the system refused items.
            VerificationFailed: it says that they are gone, and they are not.
        """
        operation_id, erasing = ctx.operation.id, _erasing(ctx, tenant)
        self.manifests.freeze(operation_id, ctx.attempt, system, store.doomed(tenant, ctx.check))
        deleting = Deleting(operation_id, erasing, (tenant,), self.gate, self.manifests)
        stayed = deleting.delete(ctx, ctx.attempt, system, store)
        deleted, _ = self.manifests.totals(operation_id, ctx.attempt, system)
        if not stayed.held:
            self._verify(ctx, tenant, system)
        return {"deleted": deleted, "held": stayed.held}

    def end(self, ctx: StepContext, tenant: TenantId, stores: Iterable[Store]) -> None:
        """Nothing is left to empty: the manifests are shredded, and what names this emptying is removed.

        The fence that sends latecomers to the tenant's new side stays. Safe to repeat.
        """
        self.manifests.shred(ctx.operation.id)
        for store in stores:
            if isinstance(store, Closes):
                store.forget(_erasing(ctx, tenant))

    def _verify(self, ctx: StepContext, tenant: TenantId, system: str) -> None:
        refused = self.manifests.refused(ctx.operation.id, ctx.attempt, system)
        if refused:
            words = sorted({word for batch in refused for word in batch})
            raise StoreRejected(
                f"{system} refused to delete items: {', '.join(words)}", store=system,
                next_step="mend it, then: tenantctl op retry",
            )  # fmt: skip
        verifier = self.verifiers.get(system)
        if not isinstance(verifier, Searches):
            return
        batches = self.manifests.batches(ctx.operation.id, ctx.attempt, system)
        left = sum(len(verifier.remaining(tenant, stored.batch, ctx.check)) for stored in batches)
        if left:
            raise VerificationFailed(
                f"{system} says it deleted, and {left} items are still there",
                next_step=f"tenantctl op why {ctx.operation.id}",
            )


def _erasing(ctx: StepContext, tenant: TenantId) -> Erasing:
    return Erasing(erasing_name(ctx.operation.id), tenant, ctx.token)


def _is_about(hold: Hold, system: str) -> bool:
    return not hold.systems or system in hold.systems or system.rpartition("/")[2] in hold.systems
