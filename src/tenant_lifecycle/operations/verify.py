"""Compare a tenant between two environments, without a migration's feeds.

Writes may go on, and a migration may be carrying them over. So an item counts as different only if it differed
every time it was looked at: once in the comparison, then `LOOKS` times more, `PAUSE_S` apart. A tenant that
rewrites one item faster than that can hide a difference in it for as long as it does, or show one that is only
lag; the proof a flip demands (`operations/proof.py`) has no such gap.
"""

from __future__ import annotations

import time

from tenant_lifecycle.errors import UnsupportedByStore
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import Difference, SetVerdict, VerificationReport
from tenant_lifecycle.operations.pairs import Pair, StorePair
from tenant_lifecycle.operations.proof import by_set, count
from tenant_lifecycle.stores.base import Check, Digests, Keys

LOOKS = 4
PAUSE_S = 0.5


def verify_tenant(pair: Pair, tenant: TenantId, check: Check = lambda: None) -> VerificationReport:
    """Compare every set of every store on both sides; reads only.

    Raises:
        UnsupportedByStore: a store of the pair cannot compare. Nothing is called equal unseen.
    """
    began = time.monotonic()
    verdicts = [verdict for stores in pair.stores for verdict in _verify_store(stores, tenant, check)]
    return VerificationReport(pair.source, pair.target, tuple(verdicts), 0, time.monotonic() - began)


def _verify_store(stores: StorePair, tenant: TenantId, check: Check) -> list[SetVerdict]:
    source = stores.source
    if not isinstance(source, Digests):
        raise UnsupportedByStore(f"{source.name} ({source.kind}) cannot be compared with its counterpart")
    verdicts = []
    for name in source.sets(tenant):
        check()
        compared = source.compare(stores.target, tenant, name, check)
        differences = _look_again(source, stores, tenant, compared.suspects)
        rechecked = count(compared.suspects)
        verdicts.append(
            SetVerdict(stores.name, name, compared.items, compared.leaves, rechecked, tuple(differences))
        )
    return verdicts


def _look_again(source: Digests, stores: StorePair, tenant: TenantId, suspects: Keys) -> list[Difference]:
    differences: list[Difference] = []
    for look in range(LOOKS):
        if not count(suspects):
            return []
        if look:
            time.sleep(PAUSE_S)
        differences = source.compare_keys(stores.target, tenant, suspects)
        suspects = by_set(differences)
    return differences
