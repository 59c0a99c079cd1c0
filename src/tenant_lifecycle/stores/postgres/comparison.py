"""What two databases need to know about each other to compare one tenant's rows; read once, then kept.

A flip has no time for catalogue queries, so `comparison` remembers its answer for a pair of databases and a
tenant. A comparison of whole sets reads it anew; DDL in between is the feed's business to notice.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import ResolvedMap
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.fingerprints import Form, read_forms
from tenant_lifecycle.stores.postgres.owned import exclusive_people, owned_rows
from tenant_lifecycle.stores.postgres.tables import Table, read_tables

T = TypeVar("T")

#: The name of a row in all statements of the verifier.
ROW = "t"


@dataclass(frozen=True, slots=True)
class Side:
    """One table as one of the two databases has it; the same columns on both, in the same order."""

    table: Table
    #: The source's key; empty if it has none.
    key: tuple[Form, ...]
    #: Those that both sides must agree on, sorted by name.
    columns: tuple[Form, ...]
    owned: sql.Composable
    #: For shared people: the condition for "of no other tenant"; None for other tables.
    exclusive: sql.Composable | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One set on both sides."""

    set: str
    source: Side
    target: Side

    @property
    def keyless(self) -> bool:
        """The source has no key: rows can only be compared as a multiset."""
        return not self.source.key


@dataclass
class Comparison:
    """Source, target and tenant, with both catalogues."""

    source: Database
    target: Database
    tenant: TenantId
    #: The source's map, applied to its tables; it is the meaning of "owned" on both sides.
    resolved: ResolvedMap
    #: Sets in the order parents before children; those missing on the target are not in `pairs`.
    order: tuple[str, ...]
    pairs: Mapping[str, Pair]
    #: On the monotonic clock.
    read_at: float
    #: SQL that was put together before, by what it is for.
    texts: dict[object, sql.Composed] = field(default_factory=dict)

    def pair(self, set_name: str) -> Pair:
        """The set on both sides.

        Raises:
            PreconditionRefused: the tenant has no such set, or the target lacks the table or a column of it.
        """
        found = self.pairs.get(set_name)
        if found is None:
            raise PreconditionRefused(
                f"{set_name} cannot be compared: {self.target.name} lacks it, or {self.source.name} does",
                next_step="create the missing tables and columns on the target first",
            )
        missing = sorted({c.name for c in found.source.table.copied_columns} - _names(found.target.table))
        if missing:
            raise PreconditionRefused(
                f"{set_name} cannot be compared: {self.target.name} lacks column {', '.join(missing)}",
                next_step="create the missing columns on the target first",
            )
        return found


_known: OrderedDict[tuple[int, int, str], Comparison] = OrderedDict()
_lock = threading.Lock()
_KEPT = 32


def comparison(
    source: Database, target: Database, tenant: TenantId, *, max_age_s: float = math.inf
) -> Comparison:
    """The comparison of the two databases for the tenant, from memory unless it is older than that."""
    name = (id(source), id(target), str(tenant))
    with _lock:
        known = _known.get(name)
    # The remembered one keeps both databases alive, so an id cannot have been given away again.
    if known is not None and time.monotonic() - known.read_at <= max_age_s:
        return known
    known = _read(source, target, tenant)
    with _lock:
        _known[name] = known
        _known.move_to_end(name)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return known


def both(source: Callable[[], T], target: Callable[[], T]) -> tuple[T, T]:
    """Run both at the same time, one in a thread; the first error is raised when both have ended."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(target())
        except BaseException as exc:
            future.set_exception(exc)

    thread = threading.Thread(target=run, name="verify-target", daemon=True)
    thread.start()
    try:
        first = source()
    finally:
        thread.join()
    return first, future.result()


@dataclass(frozen=True, slots=True)
class Sessions:
    """A session on either side, for one piece of work."""

    source: Database
    target: Database
    ours: Connection
    theirs: Connection

    def ask(self, pair: Pair, question: Callable[[Connection, Side], T]) -> tuple[T, T]:
        """Ask both sides about one set at the same time; an error names the side it came from."""
        return self.ask_all(lambda conn, ours: question(conn, pair.source if ours else pair.target))

    def ask_all(self, question: Callable[[Connection, bool], T]) -> tuple[T, T]:
        """Ask both sides at the same time; the flag is True on the source."""

        def asked(database: Database, conn: Connection, ours: bool) -> T:
            with translating(database.name):
                return question(conn, ours)

        return both(
            lambda: asked(self.source, self.ours, True),
            lambda: asked(self.target, self.theirs, False),
        )


@contextmanager
def sessions(source: Database, target: Database) -> Iterator[Sessions]:
    """Borrow a session on either side."""
    with source.session() as ours, target.session() as theirs:
        yield Sessions(source, target, ours, theirs)


def _read(source: Database, target: Database, tenant: TenantId) -> Comparison:
    read_at = time.monotonic()
    ours, theirs = both(lambda: _catalogue(source, tenant), lambda: _catalogue(target, tenant))
    resolved = source.map.resolve(tenant, frozenset(ours))
    pairs: dict[str, Pair] = {}
    for name in resolved.moved:
        if name in theirs:
            (left, left_forms), (right, right_forms) = ours[name], theirs[name]
            columns = compared_columns(left, right)
            key = left.key if set(left.key) <= set(columns) else ()
            pairs[str(name)] = Pair(
                str(name),
                _side(resolved, left, left_forms, key, columns),
                _side(resolved, right, right_forms, key, columns),
            )
    order = tuple(str(name) for name in resolved.moved)
    return Comparison(source, target, tenant, resolved, order, pairs, read_at)


def _catalogue(database: Database, tenant: TenantId) -> dict[TableName, tuple[Table, Mapping[str, Form]]]:
    with database.session() as conn:
        tables = read_tables(conn)
        moved = database.map.resolve(tenant, frozenset(tables)).moved
        forms = read_forms(conn, [tables[name] for name in moved if name in tables])
        return {name: (table, forms.get(table.oid, {})) for name, table in tables.items()}


def compared_columns(source: Table, target: Table) -> tuple[str, ...]:
    """Columns that both sides must agree on, sorted: those that are written, and stored generated ones with
    the same expression on both sides. Virtual ones follow from the rest."""
    shared = {column.name: column for column in source.columns if column.name in _names(target)}
    chosen = []
    for name, column in sorted(shared.items()):
        other = target.column(name)
        plain = not column.generated and not other.generated
        same = column.generated == other.generated == "s" and column.default == other.default
        if plain or same:
            chosen.append(name)
    return tuple(chosen)


def _names(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def _side(
    resolved: ResolvedMap,
    table: Table,
    forms: Mapping[str, Form],
    key: tuple[str, ...],
    columns: tuple[str, ...],
) -> Side:
    shared = table.name in resolved.shared
    return Side(
        table=table,
        key=tuple(forms[name] for name in key),
        columns=tuple(forms[name] for name in columns),
        owned=owned_rows(resolved, table.name, ROW),
        exclusive=exclusive_people(resolved, table.name, ROW) if shared else None,
    )
