"""The proof at the end of a promotion: what is live is what was restored, in the very transaction that commits it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.stores.backing import SetDiff
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup.difference import difference
from tenant_lifecycle.stores.postgres.backup.matched import Matched
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.rawsql import fetch


def unequal(conn: Connection, promoted: Iterable[Matched], check: Check) -> list[tuple[Matched, SetDiff]]:
    """Sets that are not what was restored, row by row. Of people, only those count who are missing."""
    found = []
    for one in promoted:
        check()
        seen = difference(conn, one, examples=3)
        if one.no_others is not None:
            # People who are other tenants' as well stay as they are.
            seen = SetDiff(one.set, _missing(conn, one), 0, 0, seen.equal)
        if seen.only_restored or seen.only_live or seen.changed:
            found.append((one, seen))
    return found


def refuse_unequal(conn: Connection, found: Sequence[tuple[Matched, SetDiff]]) -> None:
    """Say why the first of them could not be restored.

    Raises:
        PreconditionRefused: a key is another tenant's, or nothing says any more that a row is this tenant's.
    """
    for one, seen in found:
        rows, examples = seen.only_restored + seen.only_live + seen.changed, "; ".join(seen.examples)
        if one.no_others is not None:
            raise _refusal(one, f"{rows} people could not be brought back")
        if taken := _taken(conn, one):
            raise _refusal(one, f"the keys of {taken} rows are other tenants' now ({examples})")
        raise _refusal(
            one, f"{rows} rows would not be the tenant's, for what they hang on is not restored ({examples})"
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
