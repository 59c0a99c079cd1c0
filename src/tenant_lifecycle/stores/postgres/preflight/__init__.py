"""Every reason not to move a tenant from one database to another, found before anything is changed.

A check is a function over the `Pair`. One that itself fails is a refusal: what could not be looked at is
never in order. Checks that read the tenant's rows run only when the catalogue allows them to see them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import psycopg

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.facts import read_facts
from tenant_lifecycle.stores.postgres.preflight.capacity import check_room
from tenant_lifecycle.stores.postgres.preflight.collisions import check_collisions
from tenant_lifecycle.stores.postgres.preflight.identity import (
    check_identity,
    check_keyless,
    check_publications,
)
from tenant_lifecycle.stores.postgres.preflight.numbering import check_sequences
from tenant_lifecycle.stores.postgres.preflight.objects import (
    check_columns,
    check_large_objects,
    check_materialised_views,
    check_triggers,
)
from tenant_lifecycle.stores.postgres.preflight.pair import Limits, Pair, Side
from tenant_lifecycle.stores.postgres.preflight.references import check_references
from tenant_lifecycle.stores.postgres.preflight.server import (
    check_privileges,
    check_same_database,
    check_servers,
    check_text,
    check_versions,
)
from tenant_lifecycle.stores.postgres.preflight.sessions import check_long_transactions, check_prepared
from tenant_lifecycle.stores.postgres.preflight.target import (
    check_fences,
    check_leftovers,
    check_map_places,
    check_occupied,
    check_subscriptions,
    check_tenant,
    check_unmapped,
)
from tenant_lifecycle.stores.postgres.preflight.types import check_extensions, check_types
from tenant_lifecycle.stores.postgres.tables import read_tables
from tenant_lifecycle.stores.postgres.verdicts import refuse, warn

Check = Callable[[Pair], Iterator[Finding]]

#: Need the catalogue only.
CATALOGUE_CHECKS: tuple[Check, ...] = (
    check_same_database, check_servers, check_versions, check_text, check_types, check_extensions,
    check_unmapped, check_map_places, check_privileges, check_identity, check_keyless, check_publications, check_triggers,
    check_subscriptions, check_materialised_views, check_columns, check_prepared, check_long_transactions,
    check_fences, check_leftovers,
)  # fmt: skip
#: Read rows; in this order, the first says whether there are any.
DATA_CHECKS: tuple[Check, ...] = (
    check_tenant, check_occupied, check_large_objects, check_references, check_collisions, check_sequences,
    check_room,
)  # fmt: skip

#: Refusals that forbid to read the tenant's rows: what was then found would be worth nothing.
_BLINDING = frozenset(
    {"pg.tenant-absent", "pg.table-privilege", "pg.row-security", "pg.same-database", "pg.map"}
)


def preflight(
    source: Database,
    target: Database,
    tenant: TenantId,
    *,
    limits: Limits | None = None,
    target_free_bytes: int | None = None,
) -> list[Finding]:
    """All findings about moving ``tenant``; changes nothing on either side.

    ``target_free_bytes`` is the target's free disk where a hook knows it, because SQL does not show it.
    """
    with ExitStack() as stack:
        sides = []
        for database in (source, target):
            try:
                conn = stack.enter_context(database.session())
                tables = read_tables(conn)
                sides.append(
                    Side(
                        database.name, conn, read_facts(conn), database.map, tables,
                        database.map.resolve(tenant, frozenset(tables)),
                    )
                )  # fmt: skip
            except (StoreError, psycopg.Error) as exc:
                said = str(exc).strip().removeprefix(f"{database.name}: ")
                return [refuse(database.name, "pg.reachable", said, "tenantctl doctor says what is missing")]
        pair = Pair(sides[0], sides[1], tenant, limits or Limits(), target_free_bytes)
        found = _run(CATALOGUE_CHECKS, pair)
        for check in DATA_CHECKS:
            if blinding := {finding.code for finding in refusals(found)} & _BLINDING:
                codes = ", ".join(sorted(blinding))
                found.append(
                    warn(
                        source.name, "pg.not-checked",
                        f"the tenant's rows were not looked at because of {codes}; there may be more refusals",
                        "mend what is refused and run it again",
                    )
                )  # fmt: skip
                break
            found += _run((check,), pair)
        return found


def _run(checks: Sequence[Check], pair: Pair) -> list[Finding]:
    found: list[Finding] = []
    for check in checks:
        try:
            found += check(pair)
        except psycopg.Error as exc:
            if any(side.conn.closed for side in pair.sides):
                raise
            name = check.__name__.removeprefix("check_").replace("_", " ")
            found.append(
                refuse(
                    pair.target.name, "pg.check-failed",
                    f"the check of {name} failed: {exc.diag.message_primary or str(exc).strip()}",
                    "mend what it says, then run the check again",
                )
            )  # fmt: skip
    return found
