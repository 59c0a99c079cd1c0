"""Hold the ledger against the stores that are the writer's in the end: nothing lost, doubled, back or stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from tenant_lifecycle.sandbox.facts import AGGREGATES, FACTS
from tenant_lifecycle.sandbox.items import ITEMS, NO_ITEMS, ItemReader
from tenant_lifecycle.sandbox.ledger import Do, Entry, Outcome, read_ledger
from tenant_lifecycle.sandbox.ledger_items import check_items
from tenant_lifecycle.sandbox.verdict import Violation, Wrong

__all__ = ["LedgerReport", "Violation", "Wrong", "check"]

Connection = psycopg.Connection[Any]
#: A table and the text forms of a key's parts, in the order of `FACTS`.
Place = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What was promised to the writers, and what of it does not hold."""

    acknowledged: int
    failed: int
    unknown: int
    #: Of the unknown, those that turned out to be committed.
    unknown_committed: int
    #: Rows, numbers and markers that were looked at.
    checked: int
    violations: tuple[Violation, ...] = ()

    @property
    def lost(self) -> int:
        return self._count(Wrong.LOST)

    @property
    def duplicated(self) -> int:
        return self._count(Wrong.DUPLICATED)

    @property
    def resurrected(self) -> int:
        return self._count(Wrong.RESURRECTED)

    @property
    def stale(self) -> int:
        return self._count(Wrong.STALE)

    @property
    def phantom(self) -> int:
        return self._count(Wrong.PHANTOM)

    @property
    def ok(self) -> bool:
        return not self.violations

    def __add__(self, other: LedgerReport) -> LedgerReport:
        """Both together, for tenants whose writers are different databases."""
        return LedgerReport(
            self.acknowledged + other.acknowledged,
            self.failed + other.failed,
            self.unknown + other.unknown,
            self.unknown_committed + other.unknown_committed,
            self.checked + other.checked,
            self.violations + other.violations,
        )

    def _count(self, wrong: Wrong) -> int:
        return sum(1 for violation in self.violations if violation.wrong is wrong)


def check(
    folder: Path, dsn: str, tenants: Collection[str], items: Mapping[str, ItemReader] = NO_ITEMS
) -> LedgerReport:
    """Check the writes of ``tenants`` against the database at ``dsn``, which must be their writer now, and,
    for a ledger that speaks of other stores, against the items that ``items`` reads there.

    The load has to be over. Whether a write of unknown outcome was committed is told by its marker row in
    ``load_writes``; then it must be there whole, and else no row of it may be.

    Raises:
        ValueError: the ledger speaks of a store that nothing reads here.
    """
    entries = [entry for entry in read_ledger(folder) if entry.tenant in tenants]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET row_security = off")
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            markers = _markers(conn, {entry.writer for entry in entries})
            committed, violations = _held_against_markers(entries, markers)
            expected = _expect(committed, entries)
            violations += _check_rows(conn, expected.rows)
            violations += _check_numbers(conn, tenants, expected.numbers)
    done = {id(entry) for entry in committed}
    looked_at, wrong = check_items([(entry, id(entry) in done) for entry in entries], items)
    violations += wrong
    writes = [entry for entry in entries if entry.seq > 0]
    unknown = [entry for entry in writes if entry.outcome is Outcome.UNKNOWN]
    return LedgerReport(
        acknowledged=sum(1 for entry in writes if entry.outcome is Outcome.ACK),
        failed=sum(1 for entry in writes if entry.outcome is Outcome.FAILED),
        unknown=len(unknown),
        unknown_committed=sum(1 for entry in unknown if markers[_marker(entry)]),
        checked=len(writes) + len(expected.rows) + len(expected.numbers) + looked_at,
        violations=tuple(violations),
    )


@dataclass
class _Row:
    """What must be at one place."""

    present: bool
    values: dict[str, str | None] = field(default_factory=dict)
    #: Whether any committed write ever put it there.
    ever: bool = False


@dataclass
class _Expected:
    rows: dict[Place, _Row] = field(default_factory=dict)
    numbers: Counter[Place] = field(default_factory=Counter)


def _marker(entry: Entry) -> tuple[str, int, int]:
    return entry.tenant, entry.writer, entry.seq


def _markers(conn: Connection, writers: set[int]) -> Counter[tuple[str, int, int]]:
    rows = conn.execute(
        "SELECT tenant_id, writer, seq, count(*) FROM load_writes WHERE writer = ANY (%s) GROUP BY 1, 2, 3",
        (list(writers),),
    )
    return Counter({(tenant, writer, seq): count for tenant, writer, seq, count in rows})


def _held_against_markers(
    entries: list[Entry], markers: Counter[tuple[str, int, int]]
) -> tuple[list[Entry], list[Violation]]:
    """The entries that must have had their effect, in order, and what their markers show already."""
    committed: list[Entry] = []
    wrong: list[Violation] = []
    for entry in entries:
        key = tuple(map(str, _marker(entry)))
        count = 1 if entry.seq == 0 else markers[_marker(entry)]
        if count > 1:
            wrong.append(Violation(Wrong.DUPLICATED, "load_writes", key, f"{entry.kind}: {count} markers"))
        if entry.outcome is Outcome.ACK and count == 0:
            wrong.append(Violation(Wrong.LOST, "load_writes", key, f"{entry.kind}: no marker"))
        if entry.outcome is Outcome.FAILED and count > 0:
            wrong.append(
                Violation(Wrong.PHANTOM, "load_writes", key, f"{entry.kind}: failed, but its marker is there")
            )
        if entry.outcome is Outcome.ACK or count > 0:
            committed.append(entry)
    known = {_marker(entry) for entry in entries}
    for marker in markers.keys() - known:
        wrong.append(Violation(Wrong.PHANTOM, "load_writes", tuple(map(str, marker)), "never written"))
    return committed, wrong


def _expect(committed: list[Entry], entries: list[Entry]) -> _Expected:
    """Replay what was committed; places that only uncommitted writes would have filled must be empty."""
    expected = _Expected()
    done = {id(entry) for entry in committed}
    for entry in entries:
        for effect in entry.effects:
            if effect.table in ITEMS:
                continue
            keys = FACTS[effect.table].key if effect.table in FACTS else AGGREGATES[effect.table].key
            place = (effect.table, tuple(effect.key[part] for part in keys))
            if effect.do is Do.ADD:
                expected.numbers[place] += effect.count if id(entry) in done else 0
            elif id(entry) not in done:
                expected.rows.setdefault(place, _Row(present=False))
            elif effect.do is Do.GONE:
                expected.rows[place] = _Row(present=False, ever=True)
            else:
                row = expected.rows.setdefault(place, _Row(present=True))
                row.present, row.ever = True, True
                row.values.update(effect.values)
    return expected


def _check_rows(conn: Connection, rows: Mapping[Place, _Row]) -> list[Violation]:
    wrong: list[Violation] = []
    for table in sorted({table for table, _ in rows}):
        keys = [key for name, key in rows if name == table]
        found: dict[tuple[str, ...], list[dict[str, str | None]]] = {}
        for some in _batches(keys, 2000):
            for key, values in _read(conn, table, some):
                found.setdefault(key, []).append(values)
        for key in keys:
            wrong += _judge(table, key, rows[table, key], found.get(key, []))
    return wrong


def _judge(
    table: str, key: tuple[str, ...], row: _Row, found: list[dict[str, str | None]]
) -> Iterator[Violation]:
    """What is wrong at one place."""
    if not row.present and found:
        kind = Wrong.RESURRECTED if row.ever else Wrong.PHANTOM
        yield Violation(kind, table, key, "deleted, but there" if row.ever else "never committed, but there")
    elif row.present and not found:
        yield Violation(Wrong.LOST, table, key, "not there")
    elif len(found) > 1:
        yield Violation(Wrong.DUPLICATED, table, key, f"{len(found)} rows")
    elif row.present:
        differing = [name for name, value in row.values.items() if found[0][name] != value]
        if differing:
            yield Violation(Wrong.STALE, table, key, f"differs in {', '.join(differing)}")


def _read(
    conn: Connection, table: str, keys: list[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], dict[str, str | None]]]:
    """Rows under ``keys`` with all their values, as text."""
    facts = FACTS[table]
    columns = [column for column, _ in facts.key.values()]
    # Expressions come from our own table of facts.
    query = (
        f"SELECT {', '.join(f't.{column}::text' for column in columns)}"  # noqa: S608
        f"{''.join(f', ({expression})::text' for expression in facts.values.values())} "
        f'FROM public."{table}" t JOIN unnest({", ".join(f"%s::{kind}[]" for _, kind in facts.key.values())}) '
        f"AS k({', '.join(f'k{n}' for n in range(len(columns)))}) "
        f"ON {' AND '.join(f't.{column} = k.k{n}' for n, column in enumerate(columns))}"
    )
    parts = [list(part) for part in zip(*keys, strict=True)]
    for row in conn.execute(query.encode(), parts):
        yield row[: len(columns)], dict(zip(facts.values, row[len(columns) :], strict=True))


def _check_numbers(
    conn: Connection, tenants: Collection[str], numbers: Mapping[Place, int]
) -> Iterator[Violation]:
    for table in sorted({table for table, _ in numbers}):
        aggregate = AGGREGATES[table]
        at = aggregate.key.index(aggregate.narrow_by)
        keys = [key for name, key in numbers if name == table]
        found: dict[tuple[str, ...], int] = {}
        for some in _batches(sorted({key[at] for key in keys}), 5000):
            for *key, number in conn.execute(aggregate.query, {"tenants": list(tenants), "firsts": some}):
                found[tuple(key)] = int(number)
        for key in keys:
            expected, actual = numbers[table, key], found.get(key, 0)
            if actual != expected:
                wrong = Wrong.LOST if actual < expected else Wrong.DUPLICATED
                yield Violation(wrong, table, key, f"{actual} instead of {expected}")


def _batches(things: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(things)
    while batch := list(islice(iterator, size)):
        yield batch
