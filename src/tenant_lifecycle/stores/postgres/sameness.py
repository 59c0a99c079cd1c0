"""Whether two addresses lead to one database: a lock taken through one is held for the other."""

from __future__ import annotations

import secrets

from tenant_lifecycle.stores.postgres.database import Database


def same(here: Database, there: Database) -> bool:
    """Names, ports and system identifiers say little: poolers and aliases differ, clones and standbys do not.

    A lock of a random number within one transaction is asked for in the other database; both are given back at once.
    """
    number = secrets.randbits(63)
    with here.session() as first, first.transaction():
        first.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        with there.session() as second, second.transaction():
            (free,) = second.execute("SELECT pg_try_advisory_xact_lock(%s)", (number,)).fetchone() or (True,)
    return not free
