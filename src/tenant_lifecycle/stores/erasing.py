"""The contracts of stores that erase a tenant, and of those that search for what was forgotten.

Two roles that never share code or credentials. `Erases` is asked of a store opened as the eraser; `Searches` of
the same system opened with the verifier's credentials (read-only, seeing everything: row-level security off).
A system that only one of them can be asked of is never "done". Every store here also is a `stores.base.Store`.

Order of one erasure: `Plants.plant` (canaries) - `Closes.close_writes` - `Erases.doomed` (all of it is frozen before
anything goes) - `Erases.erase` batch by batch - `Erases.settle` - `Searches.remaining` and `Searches.search`,
twice, a settling time apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tenant_lifecycle.model.erasure.manifest import Batch
from tenant_lifecycle.model.erasure.match import Found, Match, Whose
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check

__all__ = [
    "Batch", "Binds", "CANARY_NAME", "Closes", "Erased", "Erases", "Erasing", "Found", "Hit", "Horizon", "Level", "Looked", "Match", "Place",
    "Plants", "Planted", "Refused", "Searches", "Settled", "Whose",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Erasing:
    """In whose name a store is changed."""

    #: Unique per operation, [a-z0-9_]{1,50}.
    name: str
    tenant: TenantId
    #: The driver token; stores that can, refuse a smaller one than they have seen.
    token: int


@dataclass(frozen=True, slots=True)
class Refused:
    """One item that the system would not delete."""

    key: bytes
    #: The system's own word for it: ``AccessDenied``.
    code: str
    #: Seconds since 1970 when it can be deleted (object lock); None: nobody knows.
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call of `Erases.erase` did."""

    #: Items that this call deleted.
    deleted: int
    #: Items that were not there any more: deleted by an earlier attempt, or by somebody else.
    gone: int
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What was done so that deleted data does not stay behind physically, one line each for the evidence."""

    done: tuple[str, ...] = ()
    #: What could not be done and why; each is residue until somebody does it.
    left: tuple[str, ...] = ()
    #: Bytes that stay below every read path by policy (free space of tables): no level up to V2 speaks of them, a
    #: certificate lists them, and where V3 is required the searcher must not find them.
    traces: tuple[str, ...] = ()
    #: Of the repository of backups: what a certificate says of keys and of the list of the erased. JSON, nothing
    #: personal.
    destroyed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Horizon:
    """Until when something may remain whatever anybody does."""

    #: VENDOR or EXPIRY_BOUND.
    level: Level
    #: Days after the deletion.
    days: int
    #: Whose word that is: a documented promise of the provider, a lock, a retention period.
    source: str


@runtime_checkable
class Erases(Protocol):
    """A store that can take everything of a tenant away for good, and prove what it was."""

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:
        """Reasons not to begin, locks with their dates, and whatever the approver has to know. Changes nothing.

        Refusals: data no rule mentions, a missing right, hidden rows (row-level security), a store that is down.
        """

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        """Everything of the tenant here, in the order in which it has to go (children first), read as one
        snapshot where the system has one. Nothing is changed."""

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        """Delete exactly these items, those that still are the tenant's; bears repetition.

        ``check`` is called before every request that destroys. What the system refuses item by item is returned.

        Raises:
            Fenced: a newer driver was here.
            StoreError: the call as a whole failed; parts of it may have happened.
        """

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:
        """Bring deleted data out of what stays behind: vacuum and rewrite, statistics, logs of the server,
        segments, append-only files. Bears repetition; neighbours' data is the same afterwards."""

    def horizon(self) -> Horizon | None:
        """What remains at the provider whatever is done; None for a system of which nothing remains."""


@runtime_checkable
class Binds(Protocol):
    """A store in which an item may not be able to stay when another one goes."""

    def bound(self, tenant: TenantId) -> Mapping[str, frozenset[str]]:
        """Every set that the tenant could have here, with the sets that its items refer to, are found by, or lie in.

        Whoever keeps a set has to keep those as well.
        """


@runtime_checkable
class Closes(Protocol):
    """A store that can refuse one tenant's writes until it is opened again: a tombstone."""

    def close_writes(self, erasing: Erasing) -> None:
        """From now on every write of the tenant here is refused, those in flight are over. Bears repetition."""

    def reopen(self, erasing: Erasing) -> None:
        """Take it back (cancelled before the first deletion). Bears repetition."""

    def closed(self, tenant: TenantId) -> bool:
        """Whether writes are refused now."""

    def forget(self, erasing: Erasing) -> None:
        """Remove the tombstone when the last rescan is over; it names the tenant."""


@dataclass(frozen=True, slots=True)
class Place:
    """Something that can be searched: a table, a key space, a bucket, a namespace, a log group, a folder."""

    #: ``database.schema.table``, ``db0``, ``bucket``; names of places may name tenants: show it, do not journal it.
    name: str
    #: Whether the ownership map mentions it.
    declared: bool
    #: Bytes or items to go through, for progress; 0 if unknown.
    size: int = 0
    #: The manifest's set that the place is all of; "": none, or several.
    set: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something of the tenant that was found."""

    place: str
    #: Where in the place: a key, a row's address, an object's name and version. May be personal.
    where: str
    match: Match
    #: A line for ownership.yaml that would cover the place; "" if it is declared already.
    proposal: str = ""
    #: The manifest's set whose data this is, or is about (statistics of a table); "" if nobody can tell.
    set: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one search of one place gave."""

    items: int
    bytes: int
    #: At most the first 100 of the tenant's.
    hits: tuple[Hit, ...] = ()
    #: All of the tenant's hits, also those beyond the first 100.
    hit_count: int = 0
    #: Whether the control was found here.
    control_found: bool = False
    #: "" or what could not be read; then the search proves nothing.
    unread: str = ""


@runtime_checkable
class Searches(Protocol):
    """A system seen with the verifier's eyes: other credentials, other code than the eraser's."""

    #: What a clean look proves here.
    proves: Level

    def verifier_findings(self) -> list[Finding]:
        """Whether these credentials see everything and may change nothing; refusals make every look inconclusive."""

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:
        """Items of a manifest's batch that are still there, in whatever version."""

    def places(self) -> list[Place]:
        """Everything these credentials can see, declared or not: every database, schema, bucket, group, index."""

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        """Go through a place, all of it, names of things included. Reads only, and leaves no trace that holds
        an identifier (no identifier goes into a query)."""


#: Planted items are called so where items have names, so that a manifest tells them from data.
CANARY_NAME = "tenant-lifecycle-canary"


@dataclass(frozen=True, slots=True)
class Planted:
    """Where a marker was put."""

    place: str
    items: int
    detail: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Plants(Protocol):
    """A store that can be given a marker, as the tenant's own data, to be found before and not after."""

    def plant(self, erasing: Erasing, marker: str) -> list[Planted]:
        """Write the marker as data of ``erasing.tenant`` (row and large value, key, vector, object, line).

        The same call plants the permanent control: its tenant is the control's. Bears repetition.
        """
