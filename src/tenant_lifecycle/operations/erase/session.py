"""What one driver holds open for one erasure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.model.erasure.plan import ErasurePlan, SystemPlan
from tenant_lifecycle.model.erasure.policy import ErasurePolicy
from tenant_lifecycle.model.erasure.request import Request
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.operations.erase.ports import Certifies, Gate, Looker, Manifests, Register
from tenant_lifecycle.operations.erase.systems import System
from tenant_lifecycle.stores.erasing import Erases, Erasing


def erasing_name(operation_id: str) -> str:
    """In whose name stores are changed: [a-z0-9_], at most 50."""
    plain = "".join(c for c in operation_id.lower() if c.isascii() and c.isalnum())
    return f"tl_erase_{plain[-32:]}"


@dataclass(frozen=True)
class ErasureSession:
    """Stores and services of one driver; everything that has to survive it stands in the control database."""

    operation_id: str
    request: Request
    #: The plan that was approved.
    plan: ErasurePlan
    token: int
    systems: tuple[System, ...]
    policy: ErasurePolicy
    register: Register
    gate: Gate
    manifests: Manifests
    look: Looker
    #: None: this installation issues no certificates.
    certificates: Certifies | None = None
    close_stores: Callable[[], None] = field(default=lambda: None)

    @property
    def tenant(self) -> TenantId:
        return self.request.tenant

    @property
    def erasing(self) -> Erasing:
        return Erasing(erasing_name(self.operation_id), self.tenant, self.token)

    def system(self, name: str) -> System:
        """A system of the plan.

        Raises:
            InvariantViolated: lifecycle.yaml lost it since the plan was approved.
        """
        for one in self.systems:
            if one.name == name:
                return one
        raise InvariantViolated(
            f"system {name} of the approved plan is not in lifecycle.yaml any more",
            next_step="put it back, then: tenantctl op retry",
        )

    def eraser(self, name: str) -> Erases:
        """A system of the plan that can be erased.

        Raises:
            InvariantViolated: it cannot; the operation was started with another configuration.
        """
        store = self.system(name).erases
        if store is None:
            raise InvariantViolated(
                f"nothing of ours can erase {name}",
                next_step="put the plug-in back, then: tenantctl op retry",
            )
        return store

    def planned(self, name: str) -> SystemPlan:
        """What was approved for a system."""
        return next(one for one in self.plan.systems if one.system == name)

    def close(self) -> None:
        self.close_stores()


#: Opens a session for an operation and a driver token.
OpenErasure = Callable[[str, str, int], ErasureSession]
