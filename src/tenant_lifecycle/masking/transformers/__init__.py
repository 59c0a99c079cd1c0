"""What values become: one file for each kind of thing, and the table of all of them.

A transformer is made once per place from its rule and the clone's setting, and then asked for every value. Each
says what becomes of different values (`Guarantee`), so that a plan can refuse one on a unique column.
"""

from __future__ import annotations

from collections.abc import Mapping

from tenant_lifecycle.masking.transformers import (
    accounts,
    amounts,
    contact,
    dates,
    groups,
    identity,
    network,
    persons,
    plain,
    prose,
    secret,
)
from tenant_lifecycle.masking.transformers.kind import Kind

#: Every transformer by its name in a registry.
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for module in (
        accounts,
        amounts,
        contact,
        dates,
        groups,
        identity,
        network,
        persons,
        plain,
        prose,
        secret,
    )
    for kind in module.KINDS
}
