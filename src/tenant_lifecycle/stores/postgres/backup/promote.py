"""Making the live tenant equal to a preview: the rows that differ, and no others, in one transaction.

What is to be done is written down first, for all sets, while ownership is still what it was: a row is found through
its parents, and those change too. Triggers are off (they would tell the outside what happened long ago), and with
them the checks of foreign keys; so those are made at the end, together with the proof that both sides are equal.
Either all of it is committed or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import errors as pg
from psycopg import sql

from tenant_lifecycle.errors import FlipAbandoned, WrongState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.backing import Writing
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.backup.intact import refuse_broken_references
from tenant_lifecycle.stores.postgres.backup.matched import Matched, chosen, match, refuse_unloaded
from tenant_lifecycle.stores.postgres.backup.numbers import raise_sequences
from tenant_lifecycle.stores.postgres.backup.reached import refuse_unequal, unequal
from tenant_lifecycle.stores.postgres.backup.refused import naming_no_values
from tenant_lifecycle.stores.postgres.backup.register import Registered
from tenant_lifecycle.stores.postgres.backup.room import take_room
from tenant_lifecycle.stores.postgres.connection import Connection, translating
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.ours import Writer, install, register_lane, writing
from tenant_lifecycle.stores.postgres.owned import columns_sql, table_sql
from tenant_lifecycle.stores.postgres.tables import read_tables

LANE = "restore"
#: How long we wait for a row of the tenant that somebody else has locked.
LOCK_S = 10
#: Rows become the tenant's level by level; more levels than this are told as a difference.
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Work:
    """One set, and the temporary table of what is to be done with its live rows."""

    matched: Matched
    #: Key columns as ``k0`` ..., every column that others refer to, and ``tl gone``: the preview has no such row.
    staged: sql.Identifier


def promote(
    database: Database, name: str, into: Writing, sets: Sequence[str] | None, check: Check
) -> Mapping[str, int]:
    """Rows deleted, updated and inserted, by set; told again after a commit, all zero.

    People whom another tenant has too are inserted if they are missing, and otherwise left as they are.

    Raises:
        WrongState: the preview is another tenant's or not loaded, or the tenant's writes are not held.
        PreconditionRefused: shapes differ, a reference would break, or somebody else has a key or a unique value.
        FlipAbandoned: the fence did not hold until the end; do it again.
        Fenced: a newer driver was here.
        StoreBusy: somebody holds a row of the tenant; try again.
    """
    with database.session() as conn, translating(database.name):
        install(conn)
        preview = register.get(conn, database.name, name)
        if preview.tenant != into.tenant:
            raise WrongState(
                f"preview {name} is not of the tenant it is to be promoted for", next_step="name its tenant"
            )
        wanted = chosen(preview, sets)
        writer = Writer(f"restore_{into.name}", into.tenant, into.token)
        register_lane(conn, writer, LANE)
        with writing(conn, writer, LANE), naming_no_values(database.name, f"promoting {name}"):
            conn.execute(f"SET LOCAL lock_timeout = '{LOCK_S}s'")
            take_room(conn)
            return _promote(conn, database, preview, wanted, check)


def _promote(
    conn: Connection, database: Database, preview: Registered, wanted: Sequence[str], check: Check
) -> dict[str, int]:
    fenced = _held(conn, preview.tenant)
    refuse_unloaded(conn, preview, wanted)
    tables = read_tables(conn)
    resolved = database.map.resolve(preview.tenant, frozenset(tables))
    every = match(preview, resolved, tables)
    promoted = [every[set_name] for set_name in wanted]
    changed = dict.fromkeys(wanted, 0)
    works = _rounds(conn, promoted, changed, check)
    found = unequal(conn, promoted, check)
    if any(difference.only_restored for _, difference in found):
        works += _adopt(conn, [one for one, _ in found], len(works), changed)
        works += _rounds(conn, promoted, changed, check, len(works))
        found = unequal(conn, promoted, check)
    refuse_broken_references(
        conn, resolved, [(work.matched.live.name, work.staged) for work in works], tables, check
    )
    refuse_unequal(conn, found)
    raise_sequences(conn, database, preview, wanted)
    if fenced and not _held(conn, preview.tenant):
        raise FlipAbandoned("the fence was let go meanwhile; nothing was changed")
    return changed


def _rounds(
    conn: Connection, promoted: Sequence[Matched], changed: dict[str, int], check: Check, first: int = 0
) -> list[Work]:
    """Do it, and again for rows that hang on others, until nothing is left to do; counts go into ``changed``.

    A row whose parent was deleted under it is nobody's, and the tenant's again when the parent comes back.
    """
    done: list[Work] = []
    todo = list(promoted)
    for _ in range(ROUNDS):
        works = [_stage(conn, one, first + len(done) + number) for number, one in enumerate(todo)]
        before = sum(changed.values())
        _carry_out(conn, works, changed, check)
        done += works
        todo = [one for one in promoted if one.hangs]
        if not todo or sum(changed.values()) == before:
            break
    return done


def _adopt(conn: Connection, sets: Sequence[Matched], first: int, changed: dict[str, int]) -> list[Work]:
    """Rows with a key of the preview that are nobody's now are what became of the tenant's: they are made as there."""
    works = [
        _stage(conn, one, first + number, orphans=True) for number, one in enumerate(sets) if one.shape.key
    ]
    _carry_out(conn, works, changed, lambda: None)
    return works


def _carry_out(conn: Connection, works: Sequence[Work], changed: dict[str, int], check: Check) -> None:
    for step in (_delete, _update, _insert):
        for work in works:
            check()
            changed[work.matched.set] += step(conn, work)


def _held(conn: Connection, tenant: TenantId) -> bool:
    """Whether the tenant's fence holds writes now; a tenant that is not managed here has none to hold.

    Raises:
        WrongState: the tenant's application may write.
        FlipAbandoned: the fence's time is over.
    """
    row = conn.execute(
        "SELECT state = 'FENCED', state = 'ACTIVE', state = 'FENCED' AND deadline <= clock_timestamp() "
        "FROM tenant_lifecycle.fence WHERE tenant = %s",
        (tenant,),
    ).fetchone()
    if row is None:
        return False
    held, writable, over = row
    if over:
        raise FlipAbandoned("the fence ran out meanwhile; nothing was changed")
    if writable:
        raise WrongState(
            "writes of the tenant are not held, so nothing was changed",
            next_step="fence the tenant, and renew the fence until the restore is done",
        )
    return bool(held)


def _stage(conn: Connection, one: Matched, number: int, *, orphans: bool = False) -> Work:
    """Write down the live rows that are not as in the preview."""
    staged = sql.Identifier("pg_temp", f"tl_restore_{number}")
    query = _orphans(one) if orphans else _differing(one) if one.shape.key else _surplus(one)
    conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(
            sql.Identifier(f"tl_restore_{number}"), query
        )
    )
    conn.execute(sql.SQL("ANALYZE {}").format(staged))
    return Work(one, staged)


def _differing(one: Matched) -> sql.Composed:
    """Rows of the tenant that are gone from the preview, or other than there; no person of another tenant."""
    return sql.SQL(
        'SELECT l.*, p."tl there" IS NULL AS "tl gone" FROM {there} '
        'LEFT JOIN (SELECT true AS "tl there", {names} FROM {here}) p ON {same} '
        'WHERE {owned} AND {no_others} AND (p."tl there" IS NULL OR {mine} *<> {theirs})'
    ).format(
        there=one.there,
        names=columns_sql(one.names, "p"),
        here=one.here,
        same=one.same_key(),
        owned=one.owned,
        no_others=one.no_others or sql.SQL("true"),
        mine=one.row("p"),
        theirs=one.row("l"),
    )


def _orphans(one: Matched) -> sql.Composed:
    return sql.SQL(
        'SELECT l.*, false AS "tl gone" FROM {here} JOIN {there} ON {same} '
        "WHERE {mine} *<> {theirs} AND ({owned}) IS NOT TRUE AND {nobodys}"
    ).format(
        here=one.here,
        there=one.there,
        same=one.same_key(),
        mine=one.row("p"),
        theirs=one.row("l"),
        owned=one.owned,
        nobodys=one.nobodys,
    )


def _surplus(one: Matched) -> sql.Composed:
    """Of a set without a key: rows, by their place, of which the live table has more than the preview."""
    return sql.SQL(
        'SELECT l.*, true AS "tl gone" FROM ({live}) l LEFT JOIN ({restored}) p ON p."tl row" = l."tl row" '
        'WHERE l."tl number" > coalesce(p."tl count", 0)'
    ).format(live=_numbered(one), restored=_counted(one.row("p"), one.here, sql.SQL("true")))


def _numbered(one: Matched) -> sql.Composed:
    return sql.SQL(
        'SELECT l.tableoid AS "tl part", l.ctid AS "tl place", l.*, {row}::text COLLATE "C" AS "tl row", '
        'row_number() OVER (PARTITION BY {row}::text COLLATE "C") AS "tl number" FROM {there} WHERE {owned}'
    ).format(row=one.row("l"), there=one.there, owned=one.owned)


def _counted(row: sql.Composable, source: sql.Composable, condition: sql.Composable) -> sql.Composed:
    return sql.SQL(
        'SELECT {}::text COLLATE "C" AS "tl row", count(*) AS "tl count" FROM {} WHERE {} GROUP BY 1'
    ).format(row, source, condition)


def _delete(conn: Connection, work: Work) -> int:
    one = work.matched
    same: sql.Composable = (
        one.same_key("l", "s")
        if one.shape.key
        else sql.SQL('l.tableoid = s."tl part" AND l.ctid = s."tl place"')
    )
    return _run(
        conn,
        'DELETE FROM {there} USING {staged} s WHERE {same} AND s."tl gone"',
        there=one.there, staged=work.staged, same=same,
    )  # fmt: skip


def _update(conn: Connection, work: Work) -> int:
    """Changed rows, in place where the table allows it; else (see `_insert`) they are deleted to come again.

    In place, so that a neighbour's row that refers to one is not looked at for a moment in which there is none.
    """
    one = work.matched
    if not one.shape.key:
        return 0
    by_default = {column.name for column in one.live.columns if column.identity == "a"}
    names = tuple(name for name in one.names if name not in by_default)
    if by_default <= set(one.shape.key):
        try:
            with conn.transaction():
                return _run(
                    conn,
                    'UPDATE {there} SET ({names}) = ROW({values}) FROM {staged} s, {here} '
                    'WHERE {found} AND {same} AND NOT s."tl gone"',
                    there=one.there, names=columns_sql(names), values=columns_sql(names, "p"), staged=work.staged,
                    here=one.here, found=one.same_key("l", "s"), same=one.same_key("p", "s"),
                )  # fmt: skip
        except (pg.UniqueViolation, pg.ExclusionViolation):
            # Two rows exchange a value that only one may have at a time.
            pass
    _run(
        conn,
        'DELETE FROM {there} USING {staged} s WHERE {same} AND NOT s."tl gone"',
        there=one.there, staged=work.staged, same=one.same_key("l", "s"),
    )  # fmt: skip
    return 0


def _insert(conn: Connection, work: Work) -> int:
    one = work.matched
    if one.shape.key:
        missing = sql.SQL("SELECT {} FROM {} WHERE NOT EXISTS (SELECT FROM {} WHERE {})").format(
            columns_sql(one.names, "p"), one.here, one.there, one.same_key()
        )
    else:
        missing = sql.SQL(
            'SELECT {names} FROM (SELECT {own}, {row}::text COLLATE "C" AS "tl row", row_number() OVER '
            '(PARTITION BY {row}::text COLLATE "C") AS "tl number" FROM {here}) p '
            'LEFT JOIN ({live}) l ON l."tl row" = p."tl row" WHERE p."tl number" > coalesce(l."tl count", 0)'
        ).format(
            names=columns_sql(one.names, "p"), own=columns_sql(one.names, "p"), row=one.row("p"), here=one.here,
            live=_counted(one.row("l"), one.there, one.owned),
        )  # fmt: skip
    return _run(
        conn,
        "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE {missing}",
        table=table_sql(one.live.name), names=columns_sql(one.names), missing=missing,
    )  # fmt: skip


def _run(conn: Connection, statement: LiteralString, **parts: sql.Composable) -> int:
    return conn.execute(sql.SQL(statement).format(**parts)).rowcount
