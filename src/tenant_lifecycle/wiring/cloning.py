"""Clones of one installation, put together: what every face calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenant_lifecycle.catalog.clones import Clones
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.operations import Operations
from tenant_lifecycle.errors import UsageError, WrongState
from tenant_lifecycle.evidence.keys import Role
from tenant_lifecycle.masking.forms import Form, ObjectForm, RedisForm, VectorForm
from tenant_lifecycle.masking.modes import Mode, data_types, open_references
from tenant_lifecycle.model.backup.clone import Clone, CloneState
from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import NewOperation, Operation
from tenant_lifecycle.operations.clone.definition import DeleteClone, MakeClone
from tenant_lifecycle.operations.clone.exposing import findings
from tenant_lifecycle.operations.clone.session import CloneSession
from tenant_lifecycle.operations.migrate.provision import refuse
from tenant_lifecycle.operations.restore.moments import Chosen, choose
from tenant_lifecycle.stores.base import Store
from tenant_lifecycle.stores.postgres.backup.form import key_of
from tenant_lifecycle.wiring.backups import Backups, point_of
from tenant_lifecycle.wiring.evidence import signing_with
from tenant_lifecycle.wiring.installation import Installation, Stores, close_stores

#: By kind of store, how its items are taken apart for masking.
FORMS: Mapping[str, Callable[[], Form]] = {
    "redis": RedisForm,
    "s3": ObjectForm,
    "pinecone": VectorForm,
    "qdrant": VectorForm,
}


@dataclass(frozen=True, slots=True)
class WantedClone:
    """Which clone is wanted."""

    source: TenantId
    #: The clone's own tenant id, and the environment it comes into.
    name: TenantId
    environment: str
    owner: str
    purpose: str
    ttl_s: float
    #: As a person writes it.
    to: str = "latest"
    mode: Mode = Mode.FULL
    #: Only these data types, instead of a mode's.
    types: Sequence[str] = ()

    def check(self) -> None:
        """Refuse what has no owner, no end or no name.

        Raises:
            UsageError: with what is missing.
        """
        if not self.name.strip() or self.name == self.source:
            raise UsageError("a clone needs a tenant id of its own", next_step="--as NAME")
        if not self.owner.strip() or not self.purpose.strip():
            raise UsageError("a clone has an owner and a purpose", next_step="--owner NAME --purpose TEXT")
        if self.ttl_s <= 0:
            raise UsageError("a clone has an end", next_step="--ttl 7d")
        data_types(self.mode, self.types)


@dataclass(frozen=True, slots=True)
class ClonePlan:
    """What a clone would be, and why it would be refused."""

    wanted: WantedClone
    chosen: Chosen
    items: Mapping[str, Mapping[str, int]]
    findings: Sequence[Finding]

    @property
    def refusals(self) -> list[Finding]:
        return refusals(tuple(self.findings))


class Cloning:
    """Starts, lists and ends clones. Safe to use from several threads."""

    def __init__(
        self,
        installation: Installation,
        database: ControlDatabase,
        backups: Backups,
        stores: Callable[[], Stores],
    ) -> None:
        self._installation = installation
        self._backups = backups
        self._stores = stores
        self._db = database
        self._operations = Operations(database)
        self.register = Clones(database)

    def plan(self, wanted: WantedClone, *, replaces: str | None = None) -> ClonePlan:
        """What would be cloned and why it would be refused; changes nothing.

        Raises:
            NotRestorable, UnknownBackup: the moment cannot be restored.
            ConfigError: there is no masking.yaml, or it is wrong.
        """
        wanted.check()
        repository = self._backups.repository(wanted.source)
        chosen = choose(repository, point_of(wanted.to), time.time_ns() // 1000)
        self._backups.environment_of(wanted.name, wanted.environment)
        stores = self._stores()[wanted.environment]
        session = self._session("plan", wanted.source, wanted.name, wanted.environment, stores, chosen, 0)
        found = findings(session, replaces=replaces is not None)
        found += open_references(session.registry, data_types(wanted.mode, wanted.types))
        items = {
            name: {s: f.items for s, f in session.moment.fingerprints(name).items()}
            for name in session.moment.stores()
        }
        return ClonePlan(wanted, chosen, items, found)

    def start(
        self, wanted: WantedClone, *, actor: str, reason: str = "", replaces: str | None = None
    ) -> Operation:
        """Plan, refuse or record the clone; somebody has to drive it.

        Raises:
            PreconditionRefused: the plan has refusals.
        """
        plan = self.plan(wanted, replaces=replaces)
        refuse(list(plan.findings))
        spec = {
            "source": wanted.source, "environment": wanted.environment, "at_us": plan.chosen.at_us,
            "base": plan.chosen.base, "stores": list(plan.items), "mode": wanted.mode.value,
            "types": list(wanted.types), "owner": wanted.owner, "purpose": wanted.purpose,
            "ttl_s": wanted.ttl_s, "replaces": replaces,
        }  # fmt: skip
        return self._operations.create(
            NewOperation(MakeClone.kind, MakeClone.name, wanted.name, actor, spec, reason=reason)
        )

    def refresh(self, text: str, *, to: str = "latest", actor: str, reason: str = "") -> Operation:
        """Make a clone anew from another moment, under the same name and for as long as before."""
        old = self._exposed(text)
        wanted = WantedClone(
            old.source, old.tenant_id, old.environment, old.owner, old.purpose,
            old.expires_at - old.created_at, to, Mode(old.mode),
        )  # fmt: skip
        return self.start(wanted, actor=actor, reason=reason, replaces=old.id)

    def delete(self, text: str, *, actor: str, reason: str = "") -> Operation:
        """Take a clone away."""
        old = self._exposed(text)
        spec = {
            "clone": old.id, "source": old.source, "environment": old.environment, "at_us": old.at_us,
            "base": None, "stores": list(self._operations.get(old.id).spec["stores"]),
        }  # fmt: skip
        return self._operations.create(
            NewOperation(DeleteClone.kind, DeleteClone.name, old.tenant_id, actor, spec, reason=reason)
        )

    def expire(self) -> list[Operation]:
        """Begin to take away every clone whose time is over; those that were begun before are not told again."""
        now = self._db.now()
        gone = [one for one in self.register.list() if one.expired(now)]
        begun = {
            one.spec["clone"] for one in self._operations.list(kind=DeleteClone.kind) if not one.terminal
        }
        return [
            self.delete(one.id, actor="engine", reason="its time is over")
            for one in gone
            if one.id not in begun
        ]

    def list(self, *, every: bool = False, source: str | None = None) -> list[Clone]:
        """Clones that are there, or all that ever were."""
        return self.register.list(every=every, source=source)

    def _exposed(self, text: str) -> Clone:
        found = self.register.find(text)
        if found.state not in (CloneState.EXPOSED, CloneState.DELETING):
            raise WrongState(
                f"clone {found.id} is {found.state.value}", next_step=f"tenantctl op watch {found.id}"
            )
        return found

    # -- driving

    def open_session(self, operation: Operation, token: int) -> CloneSession:
        """What a driver of a clone holds open: stores of its own, so that it shares no connection."""
        spec = operation.spec
        stores = self._installation.open_stores((spec["environment"],))
        session = self._session(
            operation.id,
            TenantId(spec["source"]),
            TenantId(operation.tenant_id),
            spec["environment"],
            stores[spec["environment"]],
            Chosen(int(spec["at_us"]), spec["base"]),
            token,
        )
        session.close_stores = lambda: close_stores(stores)
        return session

    def _session(
        self,
        operation_id: str,
        source: TenantId,
        name: TenantId,
        environment: str,
        stores: Mapping[str, Store],
        chosen: Chosen,
        token: int,
    ) -> CloneSession:
        return CloneSession(
            operation_id,
            source,
            name,
            token,
            environment,
            stores,
            lambda: self._backups.repository(source),
            chosen,
            self.register,
            self._installation.open_registry,
            {one: key_of for one, store in stores.items() if store.kind == "postgres"},
            {one: FORMS[store.kind]() for one, store in stores.items() if store.kind in FORMS},
            signing_with(Role.VERIFIER, self._installation.evidence),
        )
