"""The proof at the end of a promotion: what is live is what was restored, in the very transaction that commits it."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup.difference import difference
from tenant_lifecycle.stores.postgres.backup.matched import Matched
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.rawsql import fetch


def refuse_unequal(conn: Connection, promoted: Iterable[Matched], check: Check) -> None:
    """Every set, row by row.

    Raises:
        PreconditionRefused: a row could not be restored, because its key is another tenant's, or because nothing
            says any more that it is this tenant's.
    """
    for one in promoted:
        check()
        found = difference(conn, one, examples=3)
        if one.no_others is not None:
            # People who are other tenants' as well stay as they are; nobody is missing, that is all.
            missing = _missing(conn, one)
            if missing:
                raise _refusal(one, f"{missing} people could not be brought back")
        elif found.only_restored or found.only_live or found.changed:
            taken = _taken(conn, one)
            raise _refusal(
                one,
                f"the keys of {taken} rows are other tenants' now ({'; '.join(found.examples)})"
                if taken
                else f"{found.only_restored + found.only_live + found.changed} rows would not be the tenant's, for what "
                f"they hang on is not restored ({'; '.join(found.examples)})",
            )


def _missing(conn: Connection, one: Matched) -> int:
    query = sql.SQL("SELECT count(*) FROM {} WHERE NOT EXISTS (SELECT FROM {} WHERE {})").format(
        one.here, one.there, one.same_key()
    )
    return int(fetch(conn, query)[0][0])


def _taken(conn: Connection, one: Matched) -> int:
    """Rows of the preview whose key a live row has that is not the tenant's."""
    if not one.shape.key:
        return 0
    query = sql.SQL("SELECT count(*) FROM {} JOIN {} ON {} WHERE ({}) IS NOT TRUE AND {} *<> {}").format(
        one.here, one.there, one.same_key(), one.owned, one.row("p"), one.row("l")
    )
    return int(fetch(conn, query)[0][0])


def _refusal(one: Matched, what: str) -> PreconditionRefused:
    return PreconditionRefused(
        f"{one.set}: {what}; nothing was changed",
        next_step="restore all sets, or restore as a new tenant",
    )
