"""Appending to the audit log, in the transaction of the change that is recorded.

The log is one row per entry. Beside the leaf stand the hashes of the subtrees that it completes, so that every
proof is a matter of reading about log2(size) rows (`audit_log`). Writers take turns on the row lock of
``audit_head``, which they take last in their transaction and hold until it ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tenant_lifecycle.catalog.database import POSTGRES_CLOCK, ControlDatabase
from tenant_lifecycle.catalog.tables import audit_entry, audit_head, operation
from tenant_lifecycle.errors import InvariantViolated
from tenant_lifecycle.evidence.entries import Entry, Happening, Opening, entry_of
from tenant_lifecycle.evidence.merkle import HASH_BYTES, Frontier, Node, frontier_nodes

#: Type of the entry of a change of state that no event of the history tells.
STATE = "state"


def append(db: ControlDatabase, conn: Connection, happening: Happening) -> Entry:
    """Append one entry; it is in the log if and only if the caller's transaction commits.

    About an operation, its tenant and its state are read here: ``before`` is the state that the log knew.
    """
    end = _end(db, conn, happening.operation_id)
    return _write(db, conn, _about(happening, end), end)


def record(
    db: ControlDatabase,
    conn: Connection,
    operation_id: str,
    kind: str,
    actor: str,
    detail: Mapping[str, Any],
) -> None:
    """Append what happened to an operation."""
    step = str(detail.get("step", ""))
    append(db, conn, Happening(kind, actor, operation_id=operation_id, step=step, detail=detail))


def record_state(db: ControlDatabase, conn: Connection, operation_id: str) -> None:
    """Append the operation's state if it is not the one that the log knows."""
    end = _end(db, conn, operation_id)
    if end.state != end.known_state:
        _write(db, conn, _about(Happening(STATE, "engine", operation_id=operation_id), end), end)


def nodes_at(conn: Connection, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """Hashes of perfect subtrees; one that is not complete is missing."""
    wanted = {node: node.last_leaf for node in nodes}
    rows = conn.execute(
        sa.select(audit_entry.c.seq, audit_entry.c.nodes).where(
            audit_entry.c.seq.in_(sorted(set(wanted.values())))
        )
    )
    by_leaf = {int(row.seq): split_nodes(row.nodes) for row in rows}
    return {
        node: by_leaf[leaf][node.level]
        for node, leaf in wanted.items()
        if len(by_leaf.get(leaf, ())) > node.level
    }


def frontier_at(conn: Connection, size: int) -> Frontier:
    """The tree of the first ``size`` entries."""
    nodes = frontier_nodes(size)
    found = nodes_at(conn, nodes)
    if len(found) != len(nodes):
        raise InvariantViolated(f"the audit log does not hold its first {size} entries", next_step=LOOK)
    return Frontier(size, tuple(found[node] for node in nodes))


def split_nodes(data: bytes) -> tuple[bytes, ...]:
    """The hashes of a row's ``nodes``."""
    return tuple(data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES))


#: What to do about a log that is not as it must be.
LOOK = "tenantctl audit verify says what is wrong"


def _end(db: ControlDatabase, conn: Connection, operation_id: str) -> Row[Any]:
    """Where the log ends, locked, and what is known of the operation."""
    given: dict[str, Any] = {"of_operation": operation_id}
    if db.sqlite:
        given["now"] = time.time()
    row = conn.execute(_end_query(db.sqlite), given).one_or_none()
    if row is None:
        raise InvariantViolated("the control database has no audit log", next_step=LOOK)
    return row


def _about(happening: Happening, end: Row[Any]) -> Happening:
    """What is to be recorded, with what the database knows of its operation."""
    if end.state is None:
        return happening
    return replace(happening, tenant=end.tenant_id, before=end.known_state or "", after=end.state)


def _write(db: ControlDatabase, conn: Connection, happening: Happening, end: Row[Any]) -> Entry:
    stream = (end.stream or 0) + 1 if happening.operation_id else 0
    entry, opening = entry_of(
        happening, seq=end.size, at_ms=int(end.now * 1000), stream=stream, prev=end.last
    )
    frontier, completed = _frontier(db, conn, end).append(entry.hash())
    _insert(db, conn, entry, opening, completed)
    db.audit_end = (completed[0].hex(), frontier)
    return entry


def _frontier(db: ControlDatabase, conn: Connection, end: Row[Any]) -> Frontier:
    """The tree as it is; read only if another process wrote last, or a transaction of ours was rolled back."""
    known = db.audit_end
    if known is not None and known[0] == end.last:
        return known[1]
    return frontier_at(conn, end.size)


def _insert(
    db: ControlDatabase, conn: Connection, entry: Entry, opening: Opening, completed: Sequence[bytes]
) -> None:
    moved = {"new_size": entry.seq + 1, "new_last": completed[0].hex()}
    added = {
        "new_seq": entry.seq,
        "new_leaf": entry.leaf().decode(),
        "new_nodes": b"".join(completed),
        "new_operation_id": entry.operation_id,
        "new_stream": entry.stream,
        "new_after": entry.after,
        "new_salt": opening.salt,
        "new_opening": {"actor": opening.actor, "tenant": opening.tenant, "payload": dict(opening.payload)},
    }
    if db.sqlite:
        conn.execute(_MOVE, moved)
        conn.execute(_ADD, added)
    else:
        # One way to the server instead of two: the log is written with every step.
        conn.execute(_ADD_AND_MOVE, {**moved, **added})


# The statements are built once: to build them costs more than to run them, and every step runs them.


@cache
def _end_query(sqlite: bool) -> sa.Select[Any]:
    now = sa.bindparam("now", type_=sa.Double) if sqlite else POSTGRES_CLOCK
    about = sa.bindparam("of_operation", type_=sa.Text)
    of_it = audit_entry.c.operation_id == about
    last = sa.select(audit_entry.c.after).where(of_it).order_by(audit_entry.c.stream.desc()).limit(1)
    return (
        sa.select(
            audit_head.c.size,
            audit_head.c.last,
            now.label("now"),
            operation.c.state,
            operation.c.tenant_id,
            sa.select(sa.func.max(audit_entry.c.stream)).where(of_it).scalar_subquery().label("stream"),
            last.scalar_subquery().label("known_state"),
        )
        .select_from(audit_head.outerjoin(operation, operation.c.id == about))
        .where(audit_head.c.id == 1)
        .with_for_update(of=audit_head)
    )


_MOVE = (
    audit_head.update()
    .where(audit_head.c.id == 1)
    .values(size=sa.bindparam("new_size"), last=sa.bindparam("new_last"))
)
_ADD = audit_entry.insert().values(
    {column: sa.bindparam(f"new_{column.name}", type_=column.type) for column in audit_entry.c}
)
_ADD_AND_MOVE = _ADD.add_cte(_MOVE.cte("moved"))
