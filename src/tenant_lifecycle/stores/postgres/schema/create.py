"""Creating on the target what the tenant's tables need and it lacks.

Every step is one short transaction that either happened or did not, so the work can be cut off anywhere and
begun again. A table comes with its partitions, rules, indexes, row security and grants in one of them; foreign
keys follow when all tables are there. Tables that hold rows are never altered: an index or a check over other
tenants' rows would stop their writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.errors import PreconditionRefused
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.owned import table_sql
from tenant_lifecycle.stores.postgres.schema import ddl
from tenant_lifecycle.stores.postgres.schema.compare import findings_of, read_both
from tenant_lifecycle.stores.postgres.schema.described import IndexShape, Relation
from tenant_lifecycle.stores.postgres.schema.differences import STRICT, Both, layout, plain

#: Nobody waits longer for a lock of ours; then we step back and try again.
LOCK_TIMEOUT_MS = 100
_ATTEMPTS = 40
_PAUSE_S = 0.25
#: Serialises drivers that create on the same target: "tl" and "schema" as numbers.
_LOCK = (0x746C, 0x736368)


def create_missing(source: Database, target: Database, tenant: TenantId) -> list[str]:
    """Create what is missing and say what, one line each. Idempotent; nothing that exists is altered.

    Raises:
        PreconditionRefused: something differs, so that creating the rest would not help; nothing was created.
        StoreBusy: a table that foreign keys refer to was locked all the time.
    """
    return list(creating(source, target, tenant))


def creating(source: Database, target: Database, tenant: TenantId) -> Iterator[str]:
    """As `create_missing`, a line after each committed step."""
    conn = target.connect("schema")
    try:
        with translating(target.name):
            conn.execute("SET lock_timeout = '60s'")
            conn.execute("SELECT pg_advisory_lock(%s, %s)", _LOCK)
            conn.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{LOCK_TIMEOUT_MS}ms")))
        both = read_both(source, target, tenant)
        refused = refusals(findings_of(both))
        if refused:
            raise PreconditionRefused(
                f"{target.name} differs: {refused[0].message}",
                findings=refused,
                next_step=refused[0].next_step,
            )
        for step in steps(both):
            with translating(target.name):
                notes = _run(conn, step)
            yield step.line
            yield from notes
    finally:
        conn.close()


@dataclass(frozen=True, slots=True)
class Step:
    """What is created in one transaction."""

    line: str
    statements: tuple[sql.Composed, ...]
    #: Statements that need privileges we may lack; without them the step is still done.
    wishes: tuple[sql.Composed, ...] = ()


def steps(both: Both) -> Iterator[Step]:
    """Everything that is missing, in the order in which it can be created. Pure."""
    here, there = both.source, both.target
    for name, extension in here.extensions.items():
        if name not in there.extensions:
            yield Step(f"extension {name}", tuple(ddl.extension(extension)))
    for name, space in here.namespaces.items():
        if name not in both.schemas:
            yield Step(f"schema {name}", tuple(ddl.namespace(space, both.roles)))
    for type_name, shape in here.types.items():
        if type_name not in there.types:
            yield Step(f"type {type_name}", (ddl.type_(shape),))
    for sequence_name, sequence in here.sequences.items():
        if sequence_name not in there.sequences:
            yield Step(f"sequence {sequence_name}", tuple(ddl.sequence(sequence, both.roles)))
    for root in here.roots:
        yield from _table_steps(both, root)
    for relation in here.relations.values():
        yield from _reference_steps(both, relation)


def _table_steps(both: Both, root: Relation) -> Iterator[Step]:
    parts = both.source.partitions(root.name)
    twin = both.target.relations.get(root.name)
    if twin is None:
        yield _whole_table(both, root, parts)
        return
    theirs = layout(both.target, root.name)
    for path, part in layout(both.source, root.name).items():
        if path not in theirs:
            yield Step(
                f"partition {part.name} of {root.name}",
                tuple(_relation(both, part)),
                tuple(_owner(both, part)),
            )
    if root.name in both.empty:
        yield from _missing_rules(root, twin)
        for path, part in layout(both.source, root.name).items():
            if path in theirs:
                yield from _missing_rules(part, theirs[path])


def _whole_table(both: Both, root: Relation, parts: tuple[Relation, ...]) -> Step:
    statements = [ddl.table(root), *(ddl.table(part) for part in parts)]
    for relation in (root, *parts):
        statements += _after(both, relation)
    for sequence in both.source.sequences.values():
        if sequence.owned_by is not None and sequence.owned_by[0] in {r.name for r in (root, *parts)}:
            statements.append(ddl.owned_by(sequence))
    indexes = [index for relation in (root, *parts) for index in relation.indexes]
    line = f"table {root.name}"
    if parts:
        line += f" with {len(parts)} partition(s)"
    if indexes:
        line += f", {len(indexes)} index(es)"
    slow = [index.name for index in indexes if _is_slow(index)]
    if slow:
        line += f"; {', '.join(slow)} grows with every copied row, which is slow"
    wishes = [wish for relation in (root, *parts) for wish in _owner(both, relation)]
    return Step(line, tuple(statements), tuple(wishes))


def _is_slow(index: IndexShape) -> bool:
    """Vector indexes cost far more for each row than the row itself."""
    return index.content.startswith(("USING hnsw", "USING ivfflat"))


def _relation(both: Both, relation: Relation) -> list[sql.Composed]:
    return [ddl.table(relation), *_after(both, relation)]


def _after(both: Both, relation: Relation) -> list[sql.Composed]:
    """What makes a new table complete, but for foreign keys."""
    return [
        *(
            ddl.constraint(relation, rule)
            for kind in STRICT
            for rule in relation.constraints
            if rule.kind == kind
        ),
        *(_as_is(index.definition) for index in relation.indexes),
        *ddl.replica_identity(relation),
        *ddl.row_security(relation, both.roles),
        *ddl.table_grants(relation, both.roles),
    ]


def _missing_rules(relation: Relation, twin: Relation) -> Iterator[Step]:
    there = {(rule.kind, plain(rule.definition)) for rule in twin.constraints}
    for rule in relation.constraints:
        if rule.kind != "f" and (rule.kind, plain(rule.definition)) not in there:
            yield Step(f"constraint {rule.name} of {relation.name}", (ddl.constraint(twin, rule),))
    indexes = {plain(index.content) for index in twin.indexes}
    for index in relation.indexes:
        if plain(index.content) not in indexes:
            yield Step(f"index {index.name} on {relation.name}", (_as_is(index.definition),))


def _reference_steps(both: Both, relation: Relation) -> Iterator[Step]:
    """Foreign keys of new and empty tables into tables that are there by now."""
    twin = both.target.relations.get(relation.name)
    if twin is not None and relation.root not in both.empty:
        return
    there = {plain(rule.definition) for rule in twin.constraints if rule.kind == "f"} if twin else set()
    for rule in relation.constraints:
        if rule.kind != "f" or plain(rule.definition) in there:
            continue
        if rule.refers_to in both.source.relations or rule.refers_to in both.present:
            yield Step(f"foreign key {rule.name} of {relation.name}", (ddl.constraint(relation, rule),))


def _owner(both: Both, relation: Relation) -> Iterable[sql.Composed]:
    if relation.owner in both.roles and relation.owner != both.role:
        yield sql.SQL("ALTER TABLE {} OWNER TO {}").format(
            table_sql(relation.name), sql.Identifier(relation.owner)
        )


def _as_is(text: str) -> sql.Composed:
    return sql.Composed([sql.SQL(text)])


def _run(conn: Connection, step: Step) -> list[str]:
    """Do a step in one transaction, again and again while somebody holds a lock; say what was left out."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with conn.transaction():
                for statement in step.statements:
                    conn.execute(statement)
                return _wish(conn, step)
        except pg.LockNotAvailable:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the loop returns or raises")


def _wish(conn: Connection, step: Step) -> list[str]:
    try:
        with conn.transaction():
            for wish in step.wishes:
                conn.execute(wish)
    except pg.InsufficientPrivilege:
        return [f"{step.line}: the owner is our role, which may not give it away"]
    return []
