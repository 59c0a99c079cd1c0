"""Carrying sequences over, so that the target never hands out a number that the source gave away.

Sequences are not in the change stream. All that a tenant's tables draw from count: owned ones, identities, and
bare ``nextval`` defaults. A target's sequence is only ever raised: other tenants draw from it too.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database

#: Numbers to skip beyond what is asked for; a thousandth of the range where that is less. Ten milliseconds of
#: the fastest bulk insert, should the server take the processor away from us just then.
SLACK = 10_000


@dataclass(frozen=True, slots=True)
class Counter:
    """One sequence of the source and its counterpart, by object number on each side."""

    source_oid: int
    target_oid: int
    #: +1 or -1: the direction in which it counts.
    sign: int
    #: The step, always positive.
    step: int
    #: The last number the target's sequence can give.
    bound: int
    #: Numbers to skip beyond the margin (see `_wanted`).
    slack: int


@dataclass
class Counters:
    """The sequences of one tenant on a pair of databases; looked up once, for a flip has no time for it."""

    source: Database
    target: Database
    tenant: TenantId
    _known: tuple[Counter, ...] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def carry(self, margin: int) -> int:
        """Raise the target's sequences to the source's last number plus ``margin``; return how many rose.

        One round trip to each side once the sequences are known.

        Raises:
            StoreRejected: the target lacks a sequence that the source's tables use.
        """
        counters = self.known()
        if not counters:
            return 0
        with self.source.session() as conn:
            last = _last_values(conn, [counter.source_oid for counter in counters])
        least = [
            None if value is None else _least(counter, value, margin)
            for counter, value in zip(counters, last, strict=True)
        ]
        with self.target.session() as conn:
            return raise_counters(conn, counters, least)

    def known(self) -> tuple[Counter, ...]:
        """The pairs of sequences, read from both catalogues the first time."""
        with self._lock:
            if self._known is None:
                self._known = _pairs(self.source, self.target, self.tenant)
            return self._known


def carry_counters(source: Database, target: Database, tenant: TenantId, margin: int) -> int:
    """`Counters.carry` for a caller who does it once."""
    return Counters(source, target, tenant).carry(margin)


def _least(counter: Counter, last_value: int, margin: int) -> int:
    """What the target's last number must at least be, within what the sequence can hold."""
    wanted = last_value + counter.sign * margin * counter.step
    return min(wanted, counter.bound) if counter.sign > 0 else max(wanted, counter.bound)


def _wanted(counter: Counter, least: int) -> int:
    """Where to set it: a little further than needed.

    A sequence cannot be locked against ``nextval``. Between the look at it and the setting, which are one
    statement, others may draw from it; the slack is more than they can draw in that time, so that setting
    never takes a number back.
    """
    further = least + counter.sign * counter.slack * counter.step
    return min(further, counter.bound) if counter.sign > 0 else max(further, counter.bound)


def _last_values(conn: Connection, oids: Sequence[int]) -> list[int | None]:
    """The last number given, None for a sequence that never gave one."""
    rows = conn.execute(
        "SELECT pg_sequence_last_value(s.oid::regclass) FROM unnest(%s::oid[]) WITH ORDINALITY s (oid, n) "
        "ORDER BY s.n",
        (list(oids),),
        prepare=True,
    ).fetchall()
    return [cast("int | None", value) for (value,) in rows]


def raise_counters(conn: Connection, counters: Sequence[Counter], least: Sequence[int | None]) -> int:
    """Raise every sequence that has not given its least number yet; return how many. None: leave it."""
    behind = [
        (counter.target_oid, counter.sign, value, _wanted(counter, value))
        for counter, value in zip(counters, least, strict=True)
        if value is not None
    ]
    oids, signs, needed, wanted = (
        (list(column) for column in zip(*behind, strict=True)) if behind else ([],) * 4
    )
    (raised,) = conn.execute(
        "SELECT count(setval(s.oid::regclass, s.wanted)) "
        "FROM unnest(%s::oid[], %s::int8[], %s::int8[], %s::int8[]) s (oid, sign, needed, wanted) "
        "WHERE coalesce(s.sign * pg_sequence_last_value(s.oid::regclass) < s.sign * s.needed, true)",
        (oids, signs, needed, wanted),
        prepare=True,
    ).fetchone() or (0,)
    return cast("int", raised)


#: Sequences by the column that draws from them, in a stable order.
_USED = """
SELECT n.nspname, c.relname, a.attname, d.sequence::oid::int8, d.sequence::regclass::text,
       s.seqincrement, s.seqmin, s.seqmax
  FROM (SELECT refobjid AS relation, refobjsubid AS attribute, objid AS sequence FROM pg_depend
         WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
           AND deptype IN ('a', 'i') AND refobjsubid > 0
        UNION
        SELECT ad.adrelid, ad.adnum, p.refobjid FROM pg_depend p JOIN pg_attrdef ad ON ad.oid = p.objid
         WHERE p.classid = 'pg_attrdef'::regclass AND p.refclassid = 'pg_class'::regclass) d
  JOIN pg_sequence s ON s.seqrelid = d.sequence
  JOIN pg_class c ON c.oid = d.relation
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = d.relation AND a.attnum = d.attribute
 WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
 ORDER BY 1, 2, 3, d.sequence::regclass::text
"""


@dataclass(frozen=True, slots=True)
class Used:
    """A sequence that a column draws from; its name as `regclass` prints it."""

    oid: int
    name: str
    increment: int
    minimum: int
    maximum: int


def _pairs(source: Database, target: Database, tenant: TenantId) -> tuple[Counter, ...]:
    here, there = used_sequences(source, tenant), used_sequences(target, tenant)
    by_name = {one.name: one for drawn in there.values() for one in drawn}
    pairs: dict[tuple[int, int], Counter] = {}
    for column, drawn in here.items():
        for position, one in enumerate(drawn):
            others = there.get(column, [])
            # The same name if there is one; else what the same column draws from.
            other = by_name.get(one.name) or (others[position] if position < len(others) else None)
            if other is None:
                raise StoreRejected(
                    f"{target.name}: column {'.'.join(column)} draws from no sequence, at {source.name} from {one.name}",
                    store=target.name,
                    next_step="create the sequence there and make it the column's default",
                )
            pairs[one.oid, other.oid] = counter_of(one, other)
    return tuple(pairs.values())


def counter_of(one: Used, other: Used) -> Counter:
    """A pair of sequences; the same twice where one is to be raised by itself."""
    sign = 1 if one.increment > 0 else -1
    return Counter(
        source_oid=one.oid,
        target_oid=other.oid,
        sign=sign,
        step=abs(one.increment),
        bound=other.maximum if sign > 0 else other.minimum,
        slack=min(SLACK, (other.maximum - other.minimum) // abs(one.increment) // 1000),
    )


def used_sequences(database: Database, tenant: TenantId) -> dict[tuple[str, str, str], list[Used]]:
    """By schema, table and column, of the tenant's tables."""
    tables = database.tables()
    moved = database.map.resolve(tenant, frozenset(tables)).moved
    # A default may stand on a partition only.
    names = [relation for table in moved for relation in (table, *tables[table].partitions)]
    used: dict[tuple[str, str, str], list[Used]] = {}
    with database.session() as conn:
        rows = conn.execute(
            _USED, ([name.schema for name in names], [name.name for name in names])
        ).fetchall()
    for schema, table, column, *sequence in rows:
        key = (str(schema), str(table), str(column))
        used.setdefault(key, []).append(Used(*cast("tuple[int, str, int, int, int]", tuple(sequence))))
    return used
