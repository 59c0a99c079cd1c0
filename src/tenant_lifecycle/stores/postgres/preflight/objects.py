"""Pre-flight: what hangs on the moved tables and does not travel with their rows, or acts on them."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql
from psycopg.rows import dict_row

from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.stores.postgres.owned import owned_rows, table_sql
from tenant_lifecycle.stores.postgres.preflight.pair import PIECES, Pair, Side, listed
from tenant_lifecycle.stores.postgres.tables import OUR_SCHEMA
from tenant_lifecycle.stores.postgres.verdicts import fine, refuse, warn

_FIRING = f"""
WITH {PIECES}
SELECT p.rel::regclass::text AS tab, 'trigger' AS kind, t.tgname::text AS name,
       CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END AS mode
  FROM pieces p JOIN pg_trigger t ON t.tgrelid = p.rel JOIN pg_proc f ON f.oid = t.tgfoid
 WHERE t.tgenabled IN ('A', 'R') AND f.pronamespace <> coalesce(to_regnamespace('{OUR_SCHEMA}')::oid, 0)
UNION ALL
SELECT p.rel::regclass::text, 'rule', r.rulename::text,
       CASE r.ev_enabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END
  FROM pieces p JOIN pg_rewrite r ON r.ev_class = p.rel WHERE r.ev_enabled IN ('A', 'R')
 ORDER BY 1, 2, 3
"""  # noqa: S608 - composed of constants

_READERS = f"""
WITH RECURSIVE {PIECES.strip()},
readers AS (
    SELECT w.ev_class AS rel FROM pieces p
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = p.rel
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid
    UNION
    SELECT w.ev_class FROM readers r
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.rel
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite w ON w.oid = d.objid)
SELECT n.nspname || '.' || c.relname FROM readers r JOIN pg_class c ON c.oid = r.rel
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' ORDER BY 1
"""  # noqa: S608 - composed of constants


def check_triggers(pair: Pair) -> Iterator[Finding]:
    """Triggers and rules that fire although our sessions are replicas would act on every row twice."""
    for side in pair.sides:
        yield from firing_for_us(side, "rows that we bring over")


def firing_for_us(side: Side, what: str) -> Iterator[Finding]:
    """Refusals for triggers and rules of one database that act on ``what`` although our sessions are replicas."""
    with side.conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_FIRING, {"oids": [table.oid for table in side.moved]}).fetchall()
    for row in rows:
        verb = "TRIGGER" if row["kind"] == "trigger" else "RULE"
        yield refuse(
            side.name, "pg.trigger-always",
            f"{row['kind']} {row['name']} on {row['tab']} is enabled {row['mode']} and would fire on {what}",
            f'ALTER TABLE {row["tab"]} ENABLE {verb} "{row["name"]}";',
        )  # fmt: skip
    if not rows:
        yield fine(side.name, "pg.trigger-always", f"no trigger fires on {what}")


def check_materialised_views(pair: Pair) -> Iterator[Finding]:
    """A materialised view has no change log; somebody has to refresh it after a move."""
    for side in pair.sides:
        views = side.conn.execute(_READERS.encode(), {"oids": [table.oid for table in side.moved]})
        if names := [row[0] for row in views]:
            yield warn(
                side.name, "pg.materialised-view",
                f"materialised views read moved tables and do not follow: {listed(names)}",
                f"after the move: REFRESH MATERIALIZED VIEW {names[0]};",
            )  # fmt: skip


def check_columns(pair: Pair) -> Iterator[Finding]:
    """Generated and identity columns: said so that nobody wonders."""
    columns = [(table, column) for table in pair.source.moved for column in table.columns]
    if names := [f"{table.name}.{column.name}" for table, column in columns if column.generated]:
        yield fine(
            pair.source.name, "pg.generated-column",
            f"generated columns are computed anew on the target: {listed(names)}",
        )  # fmt: skip
    if names := [f"{table.name}.{column.name}" for table, column in columns if column.identity]:
        yield fine(
            pair.source.name, "pg.identity-column",
            f"identity columns keep their values: {listed(names)}",
        )  # fmt: skip


def check_large_objects(pair: Pair) -> Iterator[Finding]:
    """Large objects are in no change log; a column of type ``oid`` may name some."""
    for table in pair.source.moved:
        for column in table.columns:
            if column.type not in ("oid", "lo") and not column.type.endswith(".lo"):
                continue
            query = sql.SQL(
                "SELECT count(*) FROM {} t WHERE {} AND EXISTS"
                " (SELECT FROM pg_largeobject_metadata m WHERE m.oid = t.{}::oid)"
            ).format(
                table_sql(table.name), owned_rows(pair.source.resolved, table.name, "t"),
                sql.Identifier(column.name),
            )  # fmt: skip
            row = pair.source.conn.execute(query).fetchone()
            if row is not None and row[0]:
                yield refuse(
                    pair.source.name, "pg.large-object",
                    f"{row[0]} rows of the tenant in {table.name} name large objects in column {column.name};"
                    " large objects do not move",
                    "store them in a bytea column or in an object store",
                )  # fmt: skip
