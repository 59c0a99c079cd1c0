"""Deleting a manifest batch by batch: the register of holds is read before every call, under its lock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tenant_lifecycle.engine.steps import StepContext
from tenant_lifecycle.model.erasure.manifest import within
from tenant_lifecycle.operations.erase.ports import Gate, Manifests, StoredBatch
from tenant_lifecycle.stores.erasing import Erased, Erases, Erasing


@dataclass
class Stayed:
    """What was not deleted, and why."""

    #: Items by set that a retention rule keeps.
    kept: dict[str, int] = field(default_factory=dict)
    #: Matter of the hold by set.
    held: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deleting:
    """In whose name a manifest is deleted, and what is asked before."""

    operation_id: str
    erasing: Erasing
    #: Everything that the tenant is called, for the register of holds.
    names: Sequence[str]
    gate: Gate
    manifests: Manifests

    def delete(
        self, ctx: StepContext, number: int, system: str, store: Erases, retained: Collection[str] = ()
    ) -> Stayed:
        """Delete every batch of round ``number`` that was not deleted before; sets in ``retained`` are kept.

        Raises:
            StoreError: a call failed, or nobody can tell whether something is held; what was done is noted.
        """
        stayed, passed = Stayed(), 0
        for stored in self.manifests.batches(self.operation_id, number, system):
            name = stored.batch.set
            if stored.erased:
                continue
            if any(within(name, one) for one in retained):
                stayed.kept[name] = stayed.kept.get(name, 0) + len(stored.batch.keys)
                continue
            ctx.check()
            hold = self.gate.begin(self.operation_id, self.erasing.token, self.names, system, name)
            if hold is not None:
                if name not in stayed.held:
                    ctx.event("held", system=system, hold=hold.id)
                stayed.held[name] = hold.matter
                continue
            result = self._call(ctx, number, system, store, stored)
            passed += result.deleted + result.gone
            ctx.progress(passed, cursor=stored.number, detail={"system": system})
        return stayed

    def _call(self, ctx: StepContext, number: int, system: str, store: Erases, stored: StoredBatch) -> Erased:
        """One announced call; signed off whatever becomes of it."""
        try:
            result = store.erase(self.erasing, stored.batch, ctx.check)
        except BaseException:
            self.gate.end(self.operation_id, self.erasing.token)
            raise
        self.manifests.erased(self.operation_id, number, system, stored.number, self.erasing.token, result)
        return result
