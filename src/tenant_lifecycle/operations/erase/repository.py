"""The repository of backups as a system of an erasure: keys are destroyed, objects go, and nothing brings them back.

Its items are objects of the tenant's directory in every region. The verifier opens the regions anew, looks for objects
that are left, and reads whose backups there are: an id, a manifest, a label. What other tenants' backups hold is
their data, and is not opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from shlex import quote
from typing import Any

from tenant_lifecycle.backups.care.exclusion import Excluded, exclude, excluded
from tenant_lifecycle.backups.care.objects import Sort, sort_of
from tenant_lifecycle.backups.care.shred import Receipt, receipts, shred
from tenant_lifecycle.backups.repository import Repository
from tenant_lifecycle.errors import (
    IntegrityError,
    KeyUnavailable,
    RepositoryError,
    RepositoryUnavailable,
    StoreRejected,
    StoreUnavailable,
)  # fmt: skip
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.erasure.outcome import Level
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.sizes import SetSize
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import (
    Batch,
    Erased,
    Erasing,
    Found,
    Horizon,
    Looked,
    Place,
    Refused,
    Settled,
)  # fmt: skip
from tenant_lifecycle.stores.tally import Tally

#: The system's name in plans: an environment of its own, for it belongs to none.
ENVIRONMENT, NAME = "backups", "repository"
_KEYS, _OBJECTS = "keys", "objects"
_MOST = 1000
#: Opens every region, the first one first; anew at each call, so that nothing is remembered.
Regions = Callable[[], Sequence[Repository]]


class RepositoryStore:
    """Every region's copy of the repository, as one system."""

    name = f"{ENVIRONMENT}/{NAME}"
    kind = "backups"
    environment = ENVIRONMENT
    moves = False
    #: Every object that is listed was opened with every key that is left.
    proves = Level.CRYPTOGRAPHIC

    def __init__(self, regions: Regions, control: str = "") -> None:
        """``control``: the tenant that the verifier has to find; "": there is none."""
        self._open = regions
        self._control = control

    # -- Store

    def probe(self) -> list[Finding]:
        try:
            with self._translating():
                places = [one.storage.where for one in self._open()]
        except (StoreUnavailable, StoreRejected) as exc:
            return [Finding("backups.unreachable", Severity.REFUSAL, str(exc), exc.next_step, self.name)]
        return [Finding("backups.reachable", Severity.OK, f"opens: {', '.join(places)}", subject=self.name)]

    def tenants(self) -> list[TenantId]:
        with self._translating():
            return sorted(one.tenant for one in self._open()[0].tenants())

    def holds(self, tenant: TenantId) -> bool:
        return next(self.doomed(tenant, lambda: None), None) is not None

    def inventory(self, tenant: TenantId, *, exact: bool = False) -> list[SetSize]:  # noqa: ARG002
        found = {_KEYS: [0, 0], _OBJECTS: [0, 0]}
        for batch in self.doomed(tenant, lambda: None):
            found[batch.set][0] += len(batch.keys)
            found[batch.set][1] += batch.bytes
        return [SetSize(name, items, size, True) for name, (items, size) in found.items()]

    def close(self) -> None:
        """Nothing is held."""

    # -- Erases

    def erasure_findings(self, tenant: TenantId) -> list[Finding]:  # noqa: ARG002
        """Said before anything goes: without a control the erasure could begin and never be proven."""
        refused = [one for one in self.probe() if one.severity is Severity.REFUSAL]
        if refused or not self._control or TenantId(self._control) in self.tenants():
            return refused
        return [
            Finding(
                "backups.no-control", Severity.REFUSAL,
                f"the control tenant {self._control!r} has no backup, so no search of the repository proves anything",
                f"tenantctl backup create {quote(self._control)}", self.name,
            )
        ]  # fmt: skip

    def doomed(self, tenant: TenantId, check: Check) -> Iterator[Batch]:
        """Keys first: with them everything else is gone."""
        with self._translating():
            listed = [
                (f"{number}:{name}".encode(), size, sort_of(name))
                for number, one in enumerate(self._open())
                for name, size, _ in one.storage.names(one.directory(tenant).below(""))
                if sort_of(name) is not Sort.SHREDDED
            ]
        for set_name, wanted in ((_KEYS, True), (_OBJECTS, False)):
            of_set = [(key, size) for key, size, sort in listed if (sort is Sort.KEY) is wanted]
            for begin in range(0, len(of_set), _MOST):
                check()
                some = of_set[begin : begin + _MOST]
                keys, size = tuple(key for key, _ in some), sum(size for _, size in some)
                # Objects are deleted too; that nobody can open one that was copied is the keys' doing.
                yield Batch(set_name, Method.CRYPTO_ERASE, keys, size)

    def erase(self, erasing: Erasing, batch: Batch, check: Check) -> Erased:
        """Destroy the tenant's keys, and delete all that it has; whichever batch comes first."""
        before = self.remaining(erasing.tenant, batch, check)
        check()
        with self._translating():
            first, *others = self._open()
            exclude([first, *others], erasing.tenant, erasing.name, time.time())
            mirror = others[0] if others else None
            if before:
                shred(first, mirror, erasing.tenant, held=_asked(check), now=time.time)
        left = self.remaining(erasing.tenant, batch, check)
        refused = tuple(Refused(key, "not deleted") for key in sorted(left))
        return Erased(len(before - left), len(batch.keys) - len(before), refused)

    def settle(self, erasing: Erasing, sets: Sequence[str], check: Check) -> Settled:  # noqa: ARG002
        """Nothing is left behind to clean; what was destroyed, for the evidence."""
        check()
        with self._translating():
            first = self._open()[0]
            seen = receipts(first, erasing.tenant)
            entry = excluded(first, erasing.tenant)
        done = tuple(
            f"{probe.where}: {probe.keys} wrapped keys destroyed; planted bytes opened before: "
            f"{'yes' if probe.before else 'no'}, after: {'yes' if probe.after else 'no'}; {one.name}"
            for one in seen
            for probe in one.probes
        )
        return Settled(done, destroyed=_destroyed(seen, entry))

    def horizon(self) -> Horizon | None:
        return None

    # -- Searches

    def verifier_findings(self) -> list[Finding]:
        return self.probe()

    def remaining(self, tenant: TenantId, batch: Batch, check: Check) -> frozenset[bytes]:
        check()
        with self._translating():
            there = {
                f"{number}:{name}".encode()
                for number, one in enumerate(self._open())
                for name, _, _ in one.storage.names(one.directory(tenant).below(""))
            }
        return frozenset(batch.keys) & there

    def places(self) -> list[Place]:
        with self._translating():
            return [Place(str(number), True) for number, _ in enumerate(self._open())]

    def search(self, place: Place, found: Found, check: Check) -> Looked:
        """Open whatever says whose it is: every tenant's id and manifests, with every key that is left."""
        tally = Tally(place.name, found)
        with self._translating():
            region = self._open()[int(place.name)]
            for part in region.tenants():
                check()
                tally.count()
                tally.look(part.place.directory.path, part.tenant.encode("utf-8", "surrogatepass"))
                try:
                    manifests = part.manifests()
                except (IntegrityError, KeyUnavailable) as exc:
                    tally.could_not_read(str(exc))
                    continue
                for one in manifests:
                    tally.count()
                    tally.look(
                        f"{part.place.directory.path} {one.id}", repr((one.tenant, dict(one.labels))).encode()
                    )
        return tally.looked()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except RepositoryUnavailable as exc:
            raise StoreUnavailable(str(exc), store=self.name, next_step=exc.next_step) from exc
        except RepositoryError as exc:
            raise StoreRejected(str(exc), store=self.name, next_step=exc.next_step) from exc


def _asked(check: Check) -> Callable[[], str]:
    """Holds are the gate's business, which ``check`` asks: it raises."""

    def held() -> str:
        check()
        return ""

    return held


def _destroyed(found: Sequence[Receipt], entry: Excluded | None) -> dict[str, Any]:
    """For the certificate: the first receipt that saw keys go, else the last; and the entry of the list."""
    if not found:
        return {}
    receipt = next((one for one in found if any(probe.keys for probe in one.probes)), found[-1])
    return {
        "directory": receipt.directory,
        "epochs": list(receipt.epochs),
        "regions": len(receipt.probes),
        "before": any(probe.before for probe in receipt.probes),
        "after": any(probe.after for probe in receipt.probes),
        "left": receipt.left,
        "at": receipt.at,
        "excluded": None if entry is None else entry.digest,
    }
