"""Errors of the server about a tenant's values, told without the values: our errors end up in journals and logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tenant_lifecycle.errors import PreconditionRefused, StoreRejected


@contextmanager
def naming_no_values(store: str, what: str) -> Iterator[None]:
    """Around statements that write a tenant's values.

    Raises:
        StoreRejected: a value does not fit its column.
        PreconditionRefused: a constraint of the live tables forbids a row; names it.
    """
    try:
        yield
    except psycopg.IntegrityError as exc:
        told = exc.diag
        name = told.constraint_name or told.column_name or "a constraint"
        raise PreconditionRefused(
            f"{store}: {what}: a row breaks {name} of {told.table_name or 'its table'} (SQLSTATE {exc.sqlstate})",
            next_step="somebody else has that value, or the schema is newer than the backup; nothing was changed",
        ) from None
    except psycopg.DataError as exc:
        raise StoreRejected(
            f"{store}: {what}: a value does not fit its column (SQLSTATE {exc.sqlstate})",
            store=store,
            next_step="compare the types of the columns with the backup's; nothing was changed",
        ) from None
