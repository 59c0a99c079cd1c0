"""Names, comments, settings, definitions and statistics of a database, and of the whole server, looked through."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from tenant_lifecycle.model.names import TableName
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.erasing import Found, Looked, Place
from tenant_lifecycle.stores.postgres.connection import Connection
from tenant_lifecycle.stores.tally import Tally

#: What it is -> query of a text, and of the oid of the table that it is about, if it is about one. Each is read whole
#: and matched here.
Texts = Mapping[str, bytes]

OF_A_DATABASE: Texts = {
    "name of a schema": b"SELECT nspname::text FROM pg_namespace",
    "name of a relation": b"SELECT relname::text FROM pg_class",
    "name of a column": b"SELECT DISTINCT attname::text FROM pg_attribute",
    "name of a type": b"SELECT typname::text FROM pg_type UNION ALL SELECT enumlabel::text FROM pg_enum",
    "constraint": b"SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint",
    "function": b"SELECT proname || ' ' || coalesce(prosrc, '') FROM pg_proc WHERE oid >= 16384",
    "view": b"SELECT pg_get_viewdef(oid) FROM pg_class WHERE relkind IN ('v', 'm') AND oid >= 16384",
    "index": b"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid >= 16384",
    "default": b"SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef",
    "bound of a partition": b"SELECT pg_get_expr(relpartbound, oid), pg_partition_root(oid)::oid::int8 FROM pg_class "
    b"WHERE relispartition",
    "policy": b"SELECT concat_ws(' ', polname, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) "
    b"FROM pg_policy",
    "trigger": b"SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "rule": b"SELECT rulename::text FROM pg_rewrite",
    "comment": b"SELECT description FROM pg_description WHERE objoid >= 16384 UNION ALL "
    b"SELECT label FROM pg_seclabel",
    "statistics": b"SELECT concat_ws(' ', s.most_common_vals::text, s.histogram_bounds::text, "
    b"s.most_common_elems::text), format('%I.%I', s.schemaname, s.tablename)::regclass::oid::int8 FROM pg_stats s "
    b"WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema')",
    "extended statistics": b"SELECT concat_ws(' ', statistics_name, most_common_vals::text), "
    b"format('%I.%I', schemaname, tablename)::regclass::oid::int8 FROM pg_stats_ext",
    "publication": b"SELECT pubname::text FROM pg_publication",
    "foreign server": b"SELECT concat_ws(' ', srvname, srvoptions::text) FROM pg_foreign_server",
}
OF_THE_SERVER: Texts = {
    "name of a database": b"SELECT datname::text FROM pg_database",
    "name of a role": b"SELECT rolname::text FROM pg_roles",
    "settings of a role": b"SELECT setconfig::text FROM pg_db_role_setting",
    "comment": b"SELECT description FROM pg_shdescription",
    "tablespace": b"SELECT concat_ws(' ', spcname, pg_tablespace_location(oid)) FROM pg_tablespace",
    "slot": b"SELECT slot_name::text FROM pg_replication_slots",
    "prepared transaction": b"SELECT gid FROM pg_prepared_xacts",
    "name of a session": b"SELECT application_name FROM pg_stat_activity",
    "setting": b"SELECT setting FROM pg_settings WHERE source NOT IN ('default', 'client', 'session')",
}
_ROOTS = (
    b"SELECT c.oid::int8, n.nspname::text, r.relname::text FROM pg_class c "
    b"JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) JOIN pg_namespace n ON n.oid = r.relnamespace "
    b"WHERE c.relkind IN ('r', 'p')"
)
_STATEMENTS = b"SELECT query FROM pg_stat_statements"


def search(conn: Connection, place: Place, texts: Texts, found: Found, check: Check) -> Looked:
    """Go through all of these texts; a question that is refused makes the whole place unread."""
    tally = Tally(place.name, found)
    sets = _sets(conn) if place.declared and texts is OF_A_DATABASE else {}
    for what, query in {**texts, **_statements(conn, texts)}.items():
        check()
        try:
            rows = conn.execute(query).fetchall()
        except psycopg.Error as exc:
            tally.could_not_read(f"{what}: {exc.diag.message_primary or type(exc).__name__}")
            continue
        for text, *about in rows:
            if text:
                tally.items += 1
                tally.set = sets.get(int(str(about[0])), "") if about else ""
                tally.look(what, str(text).encode())
    return tally.looked()


def _sets(conn: Connection) -> Mapping[int, str]:
    """Oid of every table of this database -> the set that its rows are in: of a partition that of the whole table."""
    return {
        int(str(oid)): str(TableName(str(schema), str(name))) for oid, schema, name in conn.execute(_ROOTS)
    }


def _statements(conn: Connection, texts: Texts) -> Texts:
    """Texts of statements, where the extension that keeps them is there."""
    if texts is not OF_A_DATABASE:
        return {}
    place = conn.execute(
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'pg_stat_statements'"
    ).fetchone()
    if place is None:
        return {}
    return {"text of a statement": _STATEMENTS.replace(b"FROM ", b"FROM " + str(place[0]).encode() + b".")}
