"""Every error the product raises; the class says who can fix it, ``retryable`` whether waiting helps.

::

    LifecycleError                   retryable = False
    ├── UsageError                   the caller can fix it
    │   ├── ConfigError              lifecycle.yaml or ownership.yaml; names file, line, nearest key
    │   ├── UnknownTenant            nobody by that name in the environment asked
    │   ├── UnknownOperation         no operation with that id
    │   ├── UnknownRequest           no request to erase with that id
    │   ├── UnknownCertificate       none was issued for that request
    │   ├── UnknownHold              no legal hold with that id
    │   ├── UnsupportedByStore       the plan needs an ability this store lacks
    │   ├── UnknownBackup            no base with that id in the tenant's repository
    │   ├── NotRestorable            that moment cannot be restored; carries the moments that can
    │   └── NotAvailable             this version does not do that yet
    ├── ConflictError                someone holds it, or it is in another state
    │   ├── TenantBusy               another exclusive operation on the tenant; names it
    │   ├── LeaseLost                another driver took the operation over; never clean up after it
    │   ├── Fenced                   a store refused an old driver token
    │   ├── PlanChanged              the plan is not the one that was reviewed
    │   └── WrongState               the operation cannot do that now
    ├── PreconditionRefused          pre-flight or a gate says no; carries the findings
    │   ├── UnmappedData             closed world: data the ownership map does not mention
    │   ├── NotCertifiable           an erasure is not in a state that a certificate may state
    │   ├── TargetOccupied           the target already holds rows of the tenant
    │   └── WindowOver               a maintenance window ended before the move was done; writes go on at the source
    ├── StoreError                   carries store (and tenant)
    │   ├── StoreUnavailable         retryable: no answer, restarting, connection cut
    │   ├── StoreBusy                retryable: lock or statement timeout of ours ran out
    │   ├── StoreReadOnly            the server accepts no writes
    │   ├── StoreRejected            password, privilege, quota, missing setting
    │   └── FeedError                the stream of changes cannot go on as it is
    │       ├── FeedGap              slot dropped or invalidated, spool lost: copy again
    │       ├── SourceChanged        TRUNCATE, DDL or a tenant change on an owned table
    │       └── SpoolFull            retryable: no room left under the spool
    ├── RepositoryError              the backup repository failed; carries where it is
    │   ├── RepositoryUnavailable    retryable: no answer, throttled, connection cut
    │   ├── RepositoryRejected       full, forbidden, vanished
    │   └── KeyUnavailable           the tenant's key epoch is missing, shredded, or wrapped by another key
    ├── TenantMoved                  the fence refused a write; carries epoch and target (SQLSTATE TL001)
    ├── TenantInMaintenance          retryable: writes are held until a time that it carries (SQLSTATE TL005)
    ├── FlipAbandoned                retryable: a budget ran out before the commit point; writes go on at the source
    └── IntegrityError               never retried; stops a cutover
        ├── VerificationFailed       carries the differences
        ├── RepositoryDamaged        an object of the repository is missing, changed, or not signed by us
        └── InvariantViolated        a promise of the design did not hold
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenant_lifecycle.model.findings import Finding


class LifecycleError(Exception):
    """Base of all errors of this package.

    ``str(error)`` names the thing and the cause; ``next_step`` says what to do about it.
    """

    retryable: bool = False

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


class UsageError(LifecycleError):
    """The caller asked for something that cannot be; nothing was changed."""


class ConfigError(UsageError):
    """A configuration file is wrong; the message starts with ``file:line``."""


class UnknownTenant(UsageError):
    """The tenant does not exist where it was looked for."""


class UnknownOperation(UsageError):
    """There is no operation with that id."""


class UnknownRequest(UsageError):
    """No request to erase with that id."""


class UnknownCertificate(UsageError):
    """No certificate was issued for that request."""


class UnknownHold(UsageError):
    """No legal hold with that id."""


class UnsupportedByStore(UsageError):
    """The plan needs an ability that the store does not have."""


class UnknownBackup(UsageError):
    """No base with that id in the tenant's repository."""


class NotRestorable(UsageError):
    """The moment cannot be restored exactly; the message names why, the next step the nearest moments."""


class NotAvailable(UsageError):
    """This version does not do that; nothing was changed."""


class ConflictError(LifecycleError):
    """Someone else holds it, or it is in another state."""


class TenantBusy(ConflictError):
    """Another exclusive operation is active on the tenant."""

    def __init__(self, message: str, *, operation_id: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.operation_id = operation_id


class LeaseLost(ConflictError):
    """Another driver owns the operation now: stop, touch nothing, clean nothing up."""


class Fenced(ConflictError):
    """A store refused the driver token because a newer one was seen there."""


class PlanChanged(ConflictError):
    """The plan differs from the one that was reviewed (``--if-plan``)."""


class WrongState(ConflictError):
    """The operation's state does not allow the request."""


class PreconditionRefused(LifecycleError):
    """A pre-flight check or a gate refused; ``findings`` lists every reason."""

    def __init__(self, message: str, *, findings: Sequence[Finding] = (), next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.findings = tuple(findings)


class UnmappedData(PreconditionRefused):
    """The environment holds data that the ownership map does not mention."""


class NotCertifiable(PreconditionRefused):
    """The erasure is not in a state that a certificate may state; nothing was signed."""


class TargetOccupied(PreconditionRefused):
    """The target already holds data of the tenant."""


class WindowOver(PreconditionRefused):
    """The maintenance window ended before the move was done; writes go on at the source."""


class StoreError(LifecycleError):
    """A store failed; carries which one."""

    def __init__(self, message: str, *, store: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.store = store


class StoreUnavailable(StoreError):
    """The store gave no answer, is starting up, or the connection was cut."""

    retryable = True


class StoreBusy(StoreError):
    """A lock or statement timeout of ours ran out."""

    retryable = True


class StoreReadOnly(StoreError):
    """The server accepts no writes (a standby, or default_transaction_read_only)."""


class StoreRejected(StoreError):
    """The store answered and said no: password, privilege, quota, missing setting."""


class FeedError(StoreError):
    """The stream of changes cannot go on as it is."""


class FeedGap(FeedError):
    """Changes may be missing: the slot was dropped or invalidated, or the spool was lost."""


class SourceChanged(FeedError):
    """TRUNCATE, DDL or a change of tenant happened on an owned table during the move."""


class SpoolFull(FeedError):
    """The disk under the spool has no room left; changes wait at the source."""

    retryable = True


class RepositoryError(LifecycleError):
    """The backup repository failed; carries where it is."""

    def __init__(self, message: str, *, where: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.where = where


class RepositoryUnavailable(RepositoryError):
    """The repository gave no answer, throttled us, or the connection was cut."""

    retryable = True


class RepositoryRejected(RepositoryError):
    """The repository answered and said no: full, forbidden, vanished."""


class KeyUnavailable(RepositoryError):
    """A key epoch of the tenant is missing, was shredded, or is wrapped by a key that is not ours."""


class TenantMoved(LifecycleError):
    """The fence refused a write: the tenant's writer is another environment (SQLSTATE TL001)."""

    def __init__(self, message: str, *, epoch: int, target: str) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.target = target


class TenantInMaintenance(LifecycleError):
    """The fence refused a write: the tenant is in a maintenance window, nobody writes for it (SQLSTATE TL005)."""

    retryable = True

    def __init__(self, message: str, *, epoch: int, until: str) -> None:
        super().__init__(
            message, next_step=f"repeat the write later; the window ends at {until} at the latest"
        )
        self.epoch = epoch
        #: ``2026-11-24T03:00:00Z``; it may end sooner.
        self.until = until


class FlipAbandoned(LifecycleError):
    """A budget ran out before the commit point; the fence is released and writes go on at the source."""

    retryable = True


class IntegrityError(LifecycleError):
    """Data is not what it must be; never retried, stops a cutover."""


class VerificationFailed(IntegrityError):
    """The two sides differ."""


class RepositoryDamaged(IntegrityError):
    """An object of the repository is missing, was changed, or is not signed by us; the message names it."""


class InvariantViolated(IntegrityError):
    """A promise of the design did not hold; please report it."""
