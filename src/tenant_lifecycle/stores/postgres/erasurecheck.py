"""Reasons not to begin an erasure in a database, and what the approver has to know. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from tenant_lifecycle.errors import StoreError
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.names import TableName, TenantId
from tenant_lifecycle.model.ownership import ResolvedMap, Whole
from tenant_lifecycle.stores.postgres import pinned
from tenant_lifecycle.stores.postgres.backup import register
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.postgres.database import Database
from tenant_lifecycle.stores.postgres.dependents import outside_dependents
from tenant_lifecycle.stores.postgres.facts import read_facts
from tenant_lifecycle.stores.postgres.largeobjects import names_objects
from tenant_lifecycle.stores.postgres.mapcheck import check_places
from tenant_lifecycle.stores.postgres.owned import columns_sql, exclusive_people, owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.objects import firing_for_us
from tenant_lifecycle.stores.postgres.preflight.pair import Side, listed
from tenant_lifecycle.stores.postgres.probe import may_switch_triggers_off
from tenant_lifecycle.stores.postgres.references import references_to
from tenant_lifecycle.stores.postgres.servercheck import quoted
from tenant_lifecycle.stores.postgres.settle import Physical
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA, Table, read_tables
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the database for one tenant."""

    side: Side
    physical: Physical
    wal_archive_days: int | None

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def conn(self) -> Connection:
        return self.side.conn

    @property
    def resolved(self) -> ResolvedMap:
        return self.side.resolved

    @property
    def tables(self) -> Mapping[TableName, Table]:
        return self.side.tables

    def mine(self, table: TableName, alias: str) -> sql.Composable:
        """The condition for rows that the erasure takes."""
        if table in self.resolved.shared:
            return exclusive_people(self.resolved, table, alias)
        if table in self.resolved.owned:
            return owned_rows(self.resolved, table, alias)
        return sql.SQL("false")


def erasure_findings(
    database: Database, tenant: TenantId, physical: Physical, wal_archive_days: int | None
) -> list[Finding]:
    """Every reason not to begin; a check that itself fails is a refusal."""
    try:
        with database.session() as conn:
            facts = read_facts(conn)
            tables = read_tables(conn)
            resolved = database.map.resolve(tenant, frozenset(tables))
            side = Side(database.name, conn, facts, database.map, tables, resolved)
            look = _Look(side, physical, wal_archive_days)
            found = [finding for check in _CATALOGUE for finding in _asked(check, look)]
            if any(finding.severity is Severity.REFUSAL for finding in found):
                return found
            return found + [finding for check in _ROWS for finding in _asked(check, look)]
    except StoreError as exc:
        return [refuse(database.name, "pg.reachable", str(exc), exc.next_step or "tenantctl doctor")]


def _asked(check: Callable[[_Look], Iterator[Finding]], look: _Look) -> list[Finding]:
    try:
        return list(check(look))
    except psycopg.Error as exc:
        said = str(exc.diag.message_primary or exc)
        return [
            refuse(look.name, "pg.check-failed", f"{check.__name__}: {said}", "mend that, then ask again")
        ]


def check_server(look: _Look) -> Iterator[Finding]:
    """It must accept writes, and let ours go past the application's triggers."""
    if look.side.facts.standby or look.side.facts.read_only:
        yield refuse(
            look.name, "pg.read-only", "the server accepts no writes", "point the DSN at the primary"
        )
    yield from may_switch_triggers_off(look.conn, look.side.facts, look.name)


def check_map(look: _Look) -> Iterator[Finding]:
    """Closed world: data that nobody assigned may be the tenant's; and what the map names must be there."""
    if unmapped := sorted(look.resolved.unmapped):
        yield refuse(
            look.name, "pg.unmapped", f"tables without a rule in the ownership map: {listed(unmapped, 20)}",
            "tenantctl map discover proposes rules; add them to ownership.yaml",
        )  # fmt: skip
    leading = {table.name for table in look.side.moved}
    if lost := [name for name in look.resolved.moved if name not in leading]:
        yield refuse(
            look.name, "pg.map", f"the rules of {listed(lost)} lead over tables that are not here",
            "correct ownership.yaml: rows of these tables cannot be told from others'",
        )  # fmt: skip
    for finding in check_places(look.name, look.conn, look.side.map, look.tables):
        if finding.severity is Severity.REFUSAL:
            yield finding


def check_previews(look: _Look) -> Iterator[Finding]:
    """A restored tenant beside the live one is the tenant's data too, and no rule says so."""
    mine = [
        name
        for name in register.names(look.conn)
        if register.get(look.conn, look.name, name).tenant == look.resolved.tenant
    ]
    if mine:
        yield refuse(
            look.name, "pg.preview", f"restored rows of the tenant lie in preview {listed(mine)}",
            "promote or discard that restore first",
        )  # fmt: skip


_RIGHTS = """
SELECT r.name, has_table_privilege(r.name::regclass, 'SELECT') AND has_table_privilege(r.name::regclass, 'DELETE'),
       row_security_active(r.name::regclass),
       pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = r.name::regclass), 'USAGE')
  FROM unnest(%s::text[]) AS r(name)
"""


def check_rights(look: _Look) -> Iterator[Finding]:
    """The eraser must see and delete every row; hidden ones would make both deletion and count lie."""
    names = [table_sql(name).as_string(look.conn) for name in look.resolved.moved]
    rows = look.conn.execute(_RIGHTS, (names,)).fetchall()
    role = quoted(look.side.facts.role)
    if lacking := [str(name) for name, may, _, _ in rows if not may]:
        yield refuse(
            look.name, "pg.table-privilege", f"role {role} may not read and delete in {listed(lacking)}",
            f"GRANT SELECT, DELETE ON {listed(lacking)} TO {role};",
        )  # fmt: skip
    if hidden := [str(name) for name, _, hides, _ in rows if hides]:
        yield refuse(
            look.name, "pg.row-security", f"row-level security hides rows of {listed(hidden)} from role {role}",
            f"ALTER ROLE {role} BYPASSRLS;",
        )  # fmt: skip
    if foreign := [str(name) for name, _, _, owner in rows if not owner]:
        yield warn(
            look.name, "pg.table-owner", f"role {role} cannot vacuum {listed(foreign)}: deleted rows stay in them",
            "make it a member of the owner, or give it the role pg_maintain (from version 17)",
        )  # fmt: skip
    if not lacking and not hidden:
        yield fine(
            look.name, "pg.table-privilege", f"role {role} sees and may delete every row of the tenant"
        )


_QUIET = """
SELECT DISTINCT t.tgrelid::regclass::text || '.' || t.tgname FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
 WHERE t.tgrelid = ANY (%s) AND NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgtype & 8 > 0
   AND f.pronamespace <> coalesce(to_regnamespace(%s)::oid, 0) ORDER BY 1
"""


def check_triggers(look: _Look) -> Iterator[Finding]:
    """A trigger that copies a deleted row elsewhere would make new residue. Those that may fire are refused; the
    others do not fire for us, and whatever they are for does not happen."""
    yield from firing_for_us(look.side, "rows that the erasure deletes")
    oids = [look.tables[name].oid for name in look.resolved.moved]
    if quiet := [str(name) for (name,) in look.conn.execute(_QUIET, (oids, OUR_SCHEMA))]:
        yield warn(
            look.name, "pg.trigger-quiet", f"triggers that do not fire when the erasure deletes: {listed(quiet)}",
            "counters that they keep up have to be mended by hand; tables that they write need a rule in the map",
        )  # fmt: skip


_ELSEWHERE = """
SELECT format('%%s is a foreign table', c.oid::regclass) FROM pg_class c WHERE c.relkind = 'f'
UNION ALL SELECT format('%%s inherits from %%s', i.inhrelid::regclass, i.inhparent::regclass)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE NOT c.relispartition AND i.inhparent = ANY (%s)
UNION ALL SELECT format('publication %%s sends changes elsewhere', p.pubname) FROM pg_publication p
"""


def check_elsewhere(look: _Look) -> Iterator[Finding]:
    """What the approver has to know: copies, and what keeps old rows."""
    oids = [look.tables[name].oid for name in look.resolved.moved]
    for (sentence,) in look.conn.execute(_ELSEWHERE, (oids,)).fetchall():
        yield warn(
            look.name,
            "pg.elsewhere",
            str(sentence),
            "declare that system as well, or leave it out with a reason",
        )
    for sentence in pinned.pins(look.conn):
        if "archived WAL" not in sentence or look.wal_archive_days is None:
            yield warn(look.name, "pg.pinned", str(sentence))
    yield warn(
        look.name, "pg.server-log", "the server's log may quote values of failed statements (DETAIL: Key ...)",
        "declare its folder as a system of its own",
    )  # fmt: skip
    if look.physical is Physical.VACUUM:
        yield warn(
            look.name, "pg.physical", "bytes of deleted rows stay in free space of tables until it is used again",
            "physical: rewrite in lifecycle.yaml writes tables anew, which locks everybody out while it lasts",
        )  # fmt: skip
    else:
        yield warn(
            look.name, "pg.physical", "touched tables are written anew, and nobody can use them while it lasts",
            "do it in a window, or set physical: vacuum",
        )  # fmt: skip


def check_dropped(look: _Look) -> Iterator[Finding]:
    """Dropping what is the tenant's alone must take nothing from others."""
    if look.side.map.per_database:
        return
    alone = [name for name, rule in look.resolved.owned.items() if isinstance(rule, Whole)]
    ofs: list[TableName | str] = [*alone, *sorted({name.schema for name in alone})]
    for of in ofs:
        if outside := outside_dependents(look.conn, of):
            yield refuse(
                look.name, "pg.erase-dependents", f"dropping {of} would take from {listed(outside)}",
                "let those views, references or columns go first; they are in other schemas",
            )  # fmt: skip


def check_referrers(look: _Look) -> Iterator[Finding]:
    """Rows of others that refer to rows of the tenant would refer to nothing afterwards."""
    for reference in references_to(look.conn, look.resolved.moved):
        if reference.child not in look.tables:
            continue
        query = sql.SQL(
            "SELECT count(*) FROM {child} c WHERE ({mine}) IS NOT TRUE AND ({columns}) IN "
            "(SELECT {theirs} FROM {parent} p WHERE {parents})"
        ).format(
            child=table_sql(reference.child),
            mine=look.mine(reference.child, "c"),
            columns=columns_sql(reference.child_columns, "c"),
            theirs=columns_sql(reference.parent_columns, "p"),
            parent=table_sql(reference.parent),
            parents=look.mine(reference.parent, "p"),
        )
        (count,) = look.conn.execute(query).fetchone() or (0,)
        if count:
            yield refuse(
                look.name, "pg.erase-referenced",
                f"{count} rows of {reference.child} that are not the tenant's refer over {reference.name} to its rows",
                "set those references to NULL or to somebody else, or correct the ownership map",
            )  # fmt: skip


def check_large_objects(look: _Look) -> Iterator[Finding]:
    """Columns that may name large objects are followed; those that name them as text cannot be."""
    columns = [
        f"{name}.{c.name}"
        for name in look.resolved.moved
        for c in look.tables[name].columns
        if names_objects(c)
    ]
    if columns:
        yield fine(
            look.name, "pg.large-object", f"large objects named in {listed(columns)} go with their rows"
        )


_CATALOGUE = (
    check_server, check_map, check_previews, check_rights, check_triggers, check_elsewhere, check_dropped,
)  # fmt: skip
#: Read the tenant's rows; only when nothing above refuses.
_ROWS = (check_referrers, check_large_objects)
