"""What an erasure needs of the control database and of the verifier, as protocols; wiring brings them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tenant_lifecycle.model.erasure.deadline import Deadline
from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.manifest import Batch, SetCount
from tenant_lifecycle.model.erasure.outcome import Look
from tenant_lifecycle.model.erasure.people import Approval
from tenant_lifecycle.model.erasure.plan import ErasurePlan
from tenant_lifecycle.model.erasure.request import Request, RequestState
from tenant_lifecycle.operations.erase.proceedings import Proceedings
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Erased, Hit, Searches


class Register(Protocol):
    """Requests, as the steps of an operation need them."""

    def get(self, request_id: str) -> Request:
        """One request."""

    def plan(self, request_id: str) -> ErasurePlan | None:
        """Its stored plan."""

    def approvals(self, request_id: str) -> Sequence[Approval]:
        """Every approval ever given, oldest first."""

    def advance(
        self, request_id: str, to: RequestState, *, actor: str = "engine", why: str = "", **changes: Any
    ) -> Request:
        """Change its state; in that state already, nothing happens."""

    def note(self, request_id: str, kind: str, actor: str, detail: Mapping[str, Any]) -> None:
        """Append to its history."""


class Registry(Register, Protocol):
    """Requests, as people change them."""

    def move(
        self, request: Request, to: RequestState, *, actor: str, why: str = "", **changes: Any
    ) -> Request:
        """Change the state of exactly this version. Raises WrongState."""

    def store_plan(self, request: Request, plan: ErasurePlan, to: RequestState, *, actor: str) -> Request:
        """Keep a plan."""

    def approve(self, request: Request, approval: Approval) -> Request:
        """Keep an approval."""

    def extend(self, request: Request, deadline: Deadline, *, actor: str) -> Request:
        """Keep an extension."""


class Gate(Protocol):
    """Legal holds, asked before every destructive call."""

    def blocking(self, names: Iterable[str]) -> list[Hold]:
        """Holds that block something of a tenant now. Raises StoreError if nobody can tell: then it is held."""

    def begin(
        self, operation_id: str, token: int, names: Sequence[str], system: str, set_name: str
    ) -> Hold | None:
        """Announce one destructive call, unless a hold covers it; that hold is returned then."""

    def end(self, operation_id: str, token: int) -> None:
        """Sign off."""


class StoredBatch(Protocol):
    """A batch with its place in the manifest."""

    @property
    def number(self) -> int: ...
    @property
    def batch(self) -> Batch: ...
    @property
    def erased(self) -> bool: ...


class Frozen(Protocol):
    """What one system's manifest came to."""

    @property
    def sets(self) -> tuple[SetCount, ...]: ...
    @property
    def digest(self) -> str: ...
    @property
    def batches(self) -> int: ...


class Manifests(Protocol):
    """Where manifests are kept, encrypted, until the last verification is over."""

    def freeze(self, operation_id: str, number: int, system: str, batches: Iterable[Batch]) -> Frozen:
        """Write the manifest of one system for round ``number``."""

    def frozen(self, operation_id: str, number: int, system: str) -> Frozen:
        """Counts and digest."""

    def batches(self, operation_id: str, number: int, system: str) -> Iterator[StoredBatch]:
        """The batches in the order of deletion."""

    def erased(
        self, operation_id: str, number: int, system: str, position: int, token: int, result: Erased
    ) -> None:
        """Note what one call did, and sign it off at the gate, in one transaction."""

    def totals(self, operation_id: str, number: int, system: str) -> tuple[int, int]:
        """Items deleted, and items that were gone already."""

    def refused(self, operation_id: str, number: int, system: str) -> Sequence[Mapping[str, Any]]:
        """What the system would not delete, by its own word for it: ``{code: {items, until, dated}}``."""

    def keep_residue(self, operation_id: str, look: str, system: str, found: list[Mapping[str, Any]]) -> None:
        """Keep what a look found, names included."""

    def shred(self, operation_id: str) -> None:
        """Destroy the key."""


class Certifies(Protocol):
    """Where certificates are signed, logged and kept."""

    def issue(self, stage: str, found: Proceedings) -> Certified:
        """Issue the certificate of a stage (``interim/1``), or give the one that it has.

        Raises:
            ConfigError: keys or the issuer are not configured, or a key cannot be read.
            NotCertifiable: the erasure is not in a state that may be certified.
            StoreError: a key or the control database does not answer.
        """

    def revoke(self, request_id: str, why: str, *, actor: str) -> int:
        """Declare every certificate of a request void; how many there were. Safe to repeat."""


class Certified(Protocol):
    """A certificate that was issued."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def certificate_class(self) -> str: ...


class Looked(Protocol):
    """What one look at one system gave."""

    @property
    def look(self) -> Look: ...
    @property
    def hits(self) -> Sequence[Hit]: ...
    @property
    def items(self) -> int: ...
    @property
    def bytes(self) -> int: ...


#: Search one system for what the first batches name and for everything else of the tenant, but for what the last ones
#: name: that is kept.
Looker = Callable[[Searches, Iterable[Batch], Check, Iterable[Batch]], Looked]
